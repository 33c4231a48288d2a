package workflows_test

import (
	"errors"
	"testing"
	"time"

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
	p.ExecuteWorkflow(workflows.SagaName, p.in)
	require.True(p.t, p.IsWorkflowCompleted())
	var renewal *workflow.ContinueAsNewError
	require.True(p.t, errors.As(p.GetWorkflowError(), &renewal), "%v", p.GetWorkflowError())
	var in workflows.SagaInput
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
	p.signal(time.Second/2, workflows.UpdateSkip, ann("z"))
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
