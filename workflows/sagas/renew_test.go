package sagas_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// renewed runs until the workflow continues as new, and returns the next run.
func (p *play) renewed() *play {
	p.t.Helper()
	p.ExecuteWorkflow(sagas.Name, p.in)
	require.True(p.t, p.IsWorkflowCompleted())
	var renewal *workflow.ContinueAsNewError
	require.True(p.t, errors.As(p.GetWorkflowError(), &renewal), "%v", p.GetWorkflowError())
	var in sagas.Input
	require.NoError(p.t, converter.GetDefaultDataConverter().FromPayloads(renewal.Input, &in))
	next := stageOf(p.t, in)
	next.stage.outcome = p.stage.outcome
	next.SetStartTime(p.Now())
	return next
}

// TestSagaRenewed: a history that gets too long goes on in a new run, with all that
// is known; what is under way ends before, what only waits goes on there.
func TestSagaRenewed(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), group(core.Parallel, "all", waitStep("ok"), messageStep("stock"), localStep("slow")), localStep("z")))
	p.in.Plan.Steps[1].Steps[0].Timeout = time.Hour
	p.on("do stock", noReply)
	p.on("do slow", oops)
	begin := p.Now()
	p.onCall = func(call string, _ activities.SagaStep) {
		if call == "do slow" && p.tried[call] == 3 {
			p.SetContinueAsNewSuggested(true)
		}
	}
	p.signal(time.Second/2, sagas.UpdateSkip, ann("z"))
	next := p.renewed()
	require.Equal(t, map[string]int{"do a": 1, "do stock": 1, "do slow": 3}, p.tried)

	next.on("do slow", wellDone)
	var waits time.Duration
	next.at(time.Second, func() {
		s := next.status()
		require.Equal(t, core.Running, s.Core.Steps["ok"].Status)
		waits = s.Since["ok"].Sub(begin)
	})
	next.reply(20*time.Minute, "stock", core.OutcomeDone)
	s := next.run()
	require.Less(t, waits, time.Second, "the time to answer goes on")
	require.Equal(t, core.StateCompensated, s.State, "it was not answered")
	require.InDelta(t, time.Hour.Seconds(), s.Core.Steps["ok"].Ended.Sub(begin).Seconds(), 1)
	require.Equal(t, "skip z", sagaStory(s)[1])
	require.Contains(t, next.calls, "undo slow")
	require.Contains(t, next.calls, "undo stock")
}

// TestSagaRenewedGoingBack: what only waited, and was left to the next run, is not
// waited for there if the saga has turned back meanwhile.
func TestSagaRenewedGoingBack(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), group(core.Parallel, "all", waitStep("ok"), messageStep("stock"), activityStep("flight"))))
	p.booking(&booking{})
	p.OnActivity("book", testAny, testAny).After(time.Hour).Return("booked", nil)
	p.on("do stock", noReply)
	p.at(time.Minute, func() {
		p.SetContinueAsNewSuggested(true)
		p.SignalWorkflow(sagas.SignalReply, sagas.Reply{})
	})
	p.ask(2*time.Minute, workflows.UpdateCompensate, ann(""))
	next := p.renewed()
	next.booking(&booking{})
	begin := next.Now()
	s := next.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"prepare flight", "undo stock", "undo a"}, next.calls)
	require.Less(t, next.Now().Sub(begin), time.Minute)
	require.Equal(t, core.Stopped, s.Core.Steps["ok"].Status)
}

// TestSagaRenewedPaused: a pause goes on in the next run, and an early answer is
// not lost.
func TestSagaRenewedPaused(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock"), waitStep("ok"), localStep("b")))
	p.on("do stock", noReply)
	p.ask(2*time.Second, sagas.UpdatePause, ann(""))
	p.ask(3*time.Second, sagas.UpdateAnswer, ann("ok"))
	p.at(4*time.Second, func() { p.SetContinueAsNewSuggested(true) })
	next := p.renewed()
	next.reply(time.Minute, "stock", core.OutcomeDone)
	next.at(time.Hour, func() {
		s := next.status()
		require.Equal(t, core.StatePaused, s.State)
		require.Equal(t, "ann: because", s.Reason)
		require.Equal(t, []string{"pause", "answer ok"}, sagaStory(s))
		require.Len(t, s.Answers, 1)
	})
	next.ask(2*time.Hour, sagas.UpdateResume, ann(""))
	s := next.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, "do b", next.calls[len(next.calls)-1])
	require.Equal(t, core.Done, s.Core.Steps["ok"].Status)
	require.Less(t, s.Core.Steps["b"].Ended.Sub(s.Core.Steps["ok"].Began), time.Minute, "it was answered before")
}
