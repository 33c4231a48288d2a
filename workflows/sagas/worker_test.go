package sagas_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// A saga whose version this process does not have is run by another one; that does
// not count as a try.
func TestSagaNoWorker(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), localStep("b"), messageStep("stock"), activityStep("flight")))
	p.booking(&booking{})
	p.absent = func(n int) bool { return n <= 8 }
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"no-worker a", "found a"}, sagaStory(s))
	require.Equal(t, "no worker of group shop has saga order version 1: start one that registers it", s.Story[0].Text)
	for _, x := range s.Core.Steps {
		require.Equal(t, 1, x.Tries)
	}
	require.Equal(t, []bool{false, false, false, false}, p.local, "this process is not asked any more")
}

// A saga that was started by its name waits for a worker that has it.
func TestSagaPlanIsFound(t *testing.T) {
	in := sagaOf(localStep("a"))
	plan := *in.Plan
	plan.Version = 3
	in.Plan = nil
	p := stageOf(t, in)
	p.plans = map[string]core.Plan{"order": plan}
	p.absent = func(n int) bool { return n <= 3 }
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, 3, s.Version)
	require.Equal(t, 3, p.steps[0].Saga.Version)
	require.JSONEq(t, `{"amount":5,"a":1}`, string(s.Core.Data))
}

func TestSagaPlanIsNotFound(t *testing.T) {
	in := sagaOf(localStep("a"))
	in.Plan = nil
	p := stageOf(t, in)
	p.at(minute, func() {
		s := p.status()
		require.Equal(t, core.StateNoWorker, s.State)
		require.Equal(t, "no worker of group shop has saga order: start one that registers it", s.Reason)
	})
	p.at(2*minute, p.CancelWorkflow)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Empty(t, p.calls)
}

func TestSagaInvalidInput(t *testing.T) {
	for want, spoil := range map[string]func(*sagas.Input){
		"the group is empty":                    func(in *sagas.Input) { in.Group = "" },
		"the saga's name is empty":              func(in *sagas.Input) { in.Name = "" },
		"saga other has no ID":                  func(in *sagas.Input) { in.ID, in.Name = "", "other" },
		"two steps have this name":              func(in *sagas.Input) { in.Plan.Steps = append(in.Plan.Steps, localStep("a")) },
		"the plan of saga other is that of":     func(in *sagas.Input) { in.Name = "other" },
		"store large data elsewhere":            func(in *sagas.Input) { in.Data = longData },
		"is to be undone: say who asks and why": func(in *sagas.Input) { in.Undo = &sagas.UndoOf{} },
	} {
		t.Run(want, func(t *testing.T) {
			p := stageOf(t, sagaOf(localStep("a")))
			spoil(&p.in)
			p.ExecuteWorkflow(sagas.Name, p.in)
			require.ErrorContains(t, p.GetWorkflowError(), want)
			require.ErrorContains(t, p.GetWorkflowError(), workflows.InvalidInput)
		})
	}
}

// A pause ends before a worker was found: nothing was done yet, so nothing is
// completed.
func TestSagaPausedBeforeItsPlanIsFound(t *testing.T) {
	in := sagaOf(localStep("a"))
	plan := *in.Plan
	in.Plan = nil
	p := stageOf(t, in)
	p.plans = map[string]core.Plan{"order": plan}
	p.absent = func(n int) bool { return n <= 8 }
	p.ask(time.Second, sagas.UpdatePause, ann(""))
	resumed := p.ask(2*time.Second, sagas.UpdateResume, ann(""))
	s := p.run()
	require.NoError(t, resumed.err)
	require.Equal(t, core.StateNoWorker, resumed.status.State)
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"do a"}, p.calls)
}

// A step that is skipped while no worker has it has not found one.
func TestSagaSkippedWithoutWorker(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a")))
	p.absent = func(int) bool { return true }
	p.ask(10*time.Second, sagas.UpdateSkip, ann("a"))
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"no-worker a", "skip a"}, sagaStory(s))
}

// What Temporal would not take as a workflow's details is cut off.
func TestSagaDetailsAreLimited(t *testing.T) {
	var steps []core.Step
	for i := range 100 {
		s := messageStep(strings.Repeat("s", 150) + strconv.Itoa(i))
		s.Topic = strings.Repeat("t", 200)
		steps = append(steps, s)
	}
	require.Less(t, len(sagas.StartOptions("", sagaOf(steps...)).StaticDetails), 20_000)
}

// Whatever an operator sends, the saga keeps no more of it than is readable.
func TestSagaKeepsLittleOfARequest(t *testing.T) {
	p := stageOf(t, sagaOf(waitStep("ok")))
	long := sagas.Request{Operator: strings.Repeat("ann", 100_000), Reason: strings.Repeat("why", 100_000), Step: "ok"}
	p.signal(time.Second, sagas.UpdateSkip, long)
	s := p.run()
	require.Equal(t, core.Skipped, s.Core.Steps["ok"].Status)
	require.Less(t, len(s.Core.Steps["ok"].Error), 2000)
}
