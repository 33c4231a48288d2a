package sagas_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

func subStep(name string, steps ...core.Step) core.Step {
	plan := core.Plan{Name: "parcel", Version: 2, Steps: steps}
	return core.Step{Name: name, Kind: core.Saga, Saga: &plan, Undo: true, Receives: true}
}

const childID = "saga/shop/parcel/order.A-1.send"

func TestSubSagaCompleted(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), subStep("send", localStep("pack"), localStep("label")), localStep("z")))
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"do a", "prepare send", "do pack", "do label", "receive send", "do z"}, p.calls)
	require.Equal(t, childID, p.steps[2].Saga.ID)
	require.Equal(t, 2, p.steps[2].Saga.Version)
	require.JSONEq(t, `{"amount":5,"a":1,"pack":1,"label":1}`, string(p.steps[4].Result), "its last state")
}

// A sub-saga that was refused, or has failed, has undone itself.
func TestSubSagaCompensated(t *testing.T) {
	for name, x := range map[string]struct {
		outcome core.Outcome
		reason  string
		refused bool
	}{
		"refused": {refusal, "step label was refused: out of stock", true},
		"failed":  {forGood, "step label failed: never", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := stageOf(t, sagaOf(localStep("a"), subStep("send", localStep("pack"), localStep("label"))))
			p.on("do label", x.outcome)
			children := 0
			p.SetOnChildWorkflowStartedListener(func(*workflow.Info, workflow.Context, converter.EncodedValues) { children++ })
			s := p.run()
			require.Equal(t, 1, children, "nothing is left to undo")
			require.Equal(t, core.StateCompensated, s.State)
			require.Equal(t, x.reason, s.Core.Cause.Reason)
			require.Equal(t, x.refused, s.Core.Cause.Refused)
			want := []string{"do a", "prepare send", "do pack", "do label", "undo pack", "undo a"}
			if !x.refused {
				want = []string{"do a", "prepare send", "do pack", "do label", "undo label", "undo pack", "undo a"}
			}
			require.Equal(t, want, p.calls)
		})
	}
}

// A sub-saga that failed and is tried again is another saga: its first one's steps
// can never be done again.
func TestSubSagaTriedAgain(t *testing.T) {
	p := stageOf(t, sagaOf(subStep("send", localStep("pack"))))
	p.in.Plan.Steps[0].Saga.Steps[0].Retry = core.Retry{Attempts: 1}
	p.on("do pack", oops, wellDone)
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"prepare send", "do pack", "undo pack", "prepare send", "do pack", "receive send"}, p.calls)
	require.Equal(t, childID, p.steps[1].Saga.ID)
	require.Equal(t, childID+".2", p.steps[4].Saga.ID)
}

// A completed sub-saga is undone by a workflow of its own.
func TestSubSagaUndone(t *testing.T) {
	p := stageOf(t, sagaOf(subStep("send", localStep("pack"), localStep("label")), localStep("b")))
	p.on("do b", refusal)
	p.on("undo pack", oops, wellDone)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"do b", "undo label", "undo pack", "undo pack"}, p.calls[4:])
	last := p.steps[len(p.steps)-1]
	require.Equal(t, childID, last.Saga.ID, "the owner of its step rows")
	require.Equal(t, childID+"/undo", last.Saga.Workflow)
	require.Equal(t, "saga/shop/order/A-1: step b was refused: out of stock", last.Cause)
}

// An operator who compensates need not wait for what the sub-saga waits for.
func TestSubSagaStopped(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), subStep("send", localStep("pack"), waitStep("pickup"))))
	p.ask(time.Minute, workflows.UpdateCompensate, ann(""))
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"do a", "prepare send", "do pack", "undo pack", "undo a"}, p.calls)
	require.Equal(t, core.Undone, s.Core.Steps["send"].Status)
}

func TestSubSagaTakesTooLong(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), subStep("send", localStep("pack"), waitStep("pickup"))))
	p.in.Plan.Steps[1].Timeout, p.in.Plan.Steps[1].Retry = time.Hour, core.Retry{Attempts: 1}
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, holdfast.ClassTimeout, s.Core.Cause.Class)
	require.Equal(t, "it did not end within 1h0m0s", s.Core.Cause.Reason)
	require.Equal(t, []string{"do a", "prepare send", "do pack", "undo pack", "undo a"}, p.calls)
}
