package sagas_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// lostTask is the length of a history in which a run of the first workflow task may
// have been lost.
const lostTask = 6

// hasty is a message that is given up soon.
func hasty(name string) core.Step {
	s := messageStep(name)
	s.Timeout, s.Retry = 5*time.Second, core.Retry{Attempts: 1}
	return s
}

// A process that dies may have done more than was recorded. Where a step comes to
// no answer when it is asked once more, what comes after it is undone, too, unless
// it is known that it was not begun.
func TestSagaLostTask(t *testing.T) {
	for name, x := range map[string]struct {
		length int
		first  string
		stock  []core.Outcome
		undone []string
	}{
		"nothing was lost":        {3, "", []core.Outcome{noReply}, []string{"undo stock", "undo a"}},
		"lost":                    {lostTask, "", []core.Outcome{noReply}, []string{"undo d", "undo c", "undo stock", "undo a"}},
		"lost before":             {lostTask, "a", []core.Outcome{noReply}, []string{"undo stock", "undo a"}},
		"lost, refused":           {lostTask, "", []core.Outcome{refusal}, []string{"undo a"}},
		"lost, later refused":     {lostTask, "", []core.Outcome{oops, refusal}, []string{"undo a"}},
		"lost, not tried in time": {lostTask, "stock", []core.Outcome{oops}, []string{"undo stock", "undo a"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := stageOf(t, sagaOf(localStep("a"), hasty("stock"), localStep("c"), messageStep("d"), activityStep("flight"), localStep("z")))
			p.SetCurrentHistoryLength(x.length)
			p.first = map[string]bool{x.first: true}
			if len(x.stock) > 1 {
				p.in.Plan.Steps[1].Retry.Attempts = 2
			}
			p.on("do stock", x.stock...)
			s := p.run()
			require.Equal(t, core.StateCompensated, s.State)
			var undone []string
			for _, call := range p.calls {
				if call[:2] == "un" {
					undone = append(undone, call)
				}
			}
			require.Equal(t, x.undone, undone)
		})
	}
}

// TestSagaOperatorAfterLostTask: what comes from outside while a step runs as a
// local activity is heard after the chain that a lost run may have done; where
// there was none, at once.
func TestSagaOperatorAfterLostTask(t *testing.T) {
	for length, want := range map[int][]string{
		3:        {"do a", "undo a"},
		lostTask: {"do a", "do b", "do c", "undo c", "undo b", "undo a"},
	} {
		p := stageOf(t, sagaOf(localStep("a"), localStep("b"), localStep("c"), waitStep("ok"), localStep("d")))
		p.SetCurrentHistoryLength(length)
		p.onCall = func(call string, _ activities.SagaStep) {
			if call == "do a" {
				p.SignalWorkflow(workflows.UpdateCompensate, ann(""))
			}
		}
		s := p.run()
		require.Equal(t, core.StateCompensated, s.State)
		require.Equal(t, want, p.calls)
	}
}

// What completes the saga has been told to whoever waits for it: nobody is heard
// in between.
func TestSagaOperatorDuringLastStep(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a")))
	p.onCall = func(string, activities.SagaStep) { p.SignalWorkflow(sagas.UpdatePause, ann("")) }
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
}

// TestRealSagaLostTask loses a workflow task after its steps were done.
func TestRealSagaLostTask(t *testing.T) {
	t.Parallel()
	x := realSaga(t)
	x.in = sagaOf(localStep("a"), hasty("stock"), localStep("c"))
	x.in.Plan.Steps[1].Timeout = time.Second
	x.prefix += "x"
	x.in.Prefix, x.in.Key = x.prefix, x.prefix
	x.in.ID = workflows.SagaID("", x.in.Group, x.in.Name, x.in.Key)
	x.on("do stock", wellDone, noReply)
	x.on("undo stock", wellDone)
	var lost atomic.Bool
	w := sdkworker.New(x.c, workflows.TaskQueue(x.prefix, x.in.Group), sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, in sagas.Input) (sagas.Status, error) {
		workflow.Go(ctx, func(ctx workflow.Context) {
			_ = workflow.Await(ctx, func() bool { return len(x.called()) == 3 && lost.CompareAndSwap(false, true) })
			panic("the process dies")
		})
		return sagas.Saga(ctx, in)
	}, workflow.RegisterOptions{Name: sagas.Name})
	(&activities.Sagas{Runner: x.stage, Alerts: x.stage}).Register(w)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	require.NoError(t, x.start())
	require.Equal(t, core.StateCompensated, x.result(x.in.ID).State)
	require.Equal(t, []string{"do a", "do stock", "do c", "do a", "do stock", "do stock", "undo c", "undo stock", "undo a"}, x.called())
	require.Equal(t, 1, workflowtest.Count(x.history(x.in.ID), enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED))
}

// TestRealSagaCancelAndAnswer: an answer and a request to cancel that come together
// are taken in the order in which a lost run of the workflow task may have: what the
// answer leads to is begun, and undone.
func TestRealSagaCancelAndAnswer(t *testing.T) {
	t.Parallel()
	x := realSaga(t, localStep("a"), waitStep("ok"), localStep("b"), waitStep("last"))
	require.NoError(t, x.start())
	x.stands(core.StateWaiting)
	x.stop()
	answered := make(chan error)
	go func() {
		_, err := x.c.UpdateWorkflow(x.ctx(), client.UpdateWorkflowOptions{WorkflowID: x.in.ID, UpdateID: "answer", UpdateName: sagas.UpdateAnswer,
			Args: []any{ann("ok")}, WaitForStage: client.WorkflowUpdateStageCompleted})
		answered <- err
	}()
	workflowtest.Until(t, "the answer is admitted", func() bool {
		_, err := x.c.WorkflowService().PollWorkflowExecutionUpdate(x.ctx(), &workflowservice.PollWorkflowExecutionUpdateRequest{Namespace: x.namespace,
			UpdateRef: &updatepb.UpdateRef{WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: x.in.ID}, UpdateId: "answer"}})
		return err == nil
	})
	require.NoError(t, x.c.CancelWorkflow(x.ctx(), x.in.ID, ""))
	x.work(x.stage)
	require.NoError(t, <-answered)
	require.Equal(t, core.StateCompensated, x.result(x.in.ID).State)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, x.called())
}

// A saga that was terminated and is started again may have got further than where it
// fails now: what may have been done then is undone, too.
func TestSagaStartedAgain(t *testing.T) {
	steps := []core.Step{localStep("a"), activityStep("flight"), localStep("c"), messageStep("d")}
	for again, want := range map[bool][]string{
		false: {"do a", "undo a"},
		true:  {"do a", "undo d", "undo c", "prepare flight", "undo a"},
	} {
		in := sagaOf(steps...)
		in.Again = again
		p := stageOf(t, in)
		p.booking(&booking{})
		p.on("do a", forGood)
		s := p.run()
		require.Equal(t, core.StateCompensated, s.State)
		require.Equal(t, want, p.calls)
	}
}
