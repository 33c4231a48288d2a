package sagas_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

// theatre runs sagas on a real Temporal, with steps of its own.
type theatre struct {
	*stage
	t      *testing.T
	c      client.Client
	prefix string
	in     sagas.Input

	namespace string
	stop      func() // the first worker
}

// realSaga starts a worker for the group of a saga of these steps.
func realSaga(t *testing.T, steps ...core.Step) *theatre {
	t.Helper()
	s := stacktest.Shared(t)
	x := &theatre{stage: &stage{}, t: t, c: stacktest.TemporalClient(t, s), prefix: stacktest.Prefix(t), in: sagaOf(steps...), namespace: s.Namespace()}
	x.in.Prefix, x.in.Key = x.prefix, x.prefix
	x.in.ID = workflows.SagaID("", x.in.Group, x.in.Name, x.in.Key) // the same on every server
	require.NoError(t, worker.EnsureSearchAttributes(t.Context(), x.c, s.Namespace()))
	x.stop = x.work(x.stage).Stop
	return x
}

// work starts a worker with the steps of g.
func (x *theatre) work(g *stage) sdkworker.Worker {
	x.t.Helper()
	w := sdkworker.New(x.c, workflows.TaskQueue(x.prefix, x.in.Group), sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience})
	w.RegisterWorkflowWithOptions(sagas.Saga, workflow.RegisterOptions{Name: sagas.Name})
	(&activities.Sagas{Runner: g, Alerts: g}).Register(w)
	require.NoError(x.t, w.Start())
	x.t.Cleanup(w.Stop)
	return w
}

func (x *theatre) ctx() context.Context {
	ctx, cancel := context.WithTimeout(x.t.Context(), workflowtest.Patience)
	x.t.Cleanup(cancel)
	return ctx
}

func (x *theatre) start() error {
	_, _, err := sagas.Start(x.ctx(), x.c, sagas.StartConfig{Prefix: x.prefix}, x.in)
	return err
}

func (x *theatre) result(id string) (s sagas.Status) {
	x.t.Helper()
	require.NoError(x.t, x.c.GetWorkflow(x.ctx(), id, "").Get(x.ctx(), &s))
	return s
}

func (x *theatre) asked() (s sagas.Status) {
	x.t.Helper()
	stacktest.Query(x.t, x.c, x.in.ID, workflows.QueryStatus, &s)
	return s
}

// stands waits until the search attribute says so.
func (x *theatre) stands(state string) {
	x.t.Helper()
	workflowtest.Until(x.t, "the saga is "+state, func() bool {
		d, err := x.c.DescribeWorkflowExecution(x.ctx(), x.in.ID, "")
		require.NoError(x.t, err)
		return string(d.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()[workflows.AttributeState].GetData()) == `"`+state+`"`
	})
}

func (x *theatre) update(name string, req sagas.Request) (s sagas.Status, err error) {
	x.t.Helper()
	h, err := x.c.UpdateWorkflow(x.ctx(), client.UpdateWorkflowOptions{WorkflowID: x.in.ID, UpdateName: name, Args: []any{req},
		WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return s, err
	}
	return s, h.Get(x.ctx(), &s)
}

// history is that of the last run of a workflow; it must replay.
func (x *theatre) history(id string) []*historypb.HistoryEvent {
	x.t.Helper()
	h := &historypb.History{}
	for i := x.c.GetWorkflowHistory(x.ctx(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); i.HasNext(); {
		e, err := i.Next()
		require.NoError(x.t, err)
		h.Events = append(h.Events, e)
	}
	r := stacktest.Replayer(x.t)
	r.RegisterWorkflowWithOptions(sagas.Saga, workflow.RegisterOptions{Name: sagas.Name})
	require.NoError(x.t, r.ReplayWorkflowHistory(nil, proto.CloneOf(h))) // it changes what it replays
	return h.Events
}

// TestRealSagaCosts: a saga of three local steps is one eager-started workflow, one
// workflow task, and nothing but the steps' markers: 2 actions.
func TestRealSagaCosts(t *testing.T) {
	t.Parallel()
	x := realSaga(t, localStep("a"), localStep("b"), localStep("c"))
	require.NoError(t, x.start())
	require.Equal(t, core.StateCompleted, x.result(x.in.ID).State)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	require.ErrorAs(t, x.start(), &already, "the same key")
	var kinds []string
	events := x.history(x.in.ID)
	for _, e := range events {
		kinds = append(kinds, e.GetEventType().String())
	}
	require.Equal(t, []string{"WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted",
		"MarkerRecorded", "MarkerRecorded", "MarkerRecorded", "WorkflowExecutionCompleted"}, kinds)
	require.True(t, events[0].GetWorkflowExecutionStartedEventAttributes().GetEagerExecutionAccepted())
	require.Equal(t, `"do a"`, string(events[4].GetUserMetadata().GetSummary().GetData()))
}

// TestRealSagaWaitsOnlyIfItDoes: a wait whose condition does not hold costs no more
// than the condition.
func TestRealSagaWaitsOnlyIfItDoes(t *testing.T) {
	wait := waitStep("ok")
	wait.Conditional = true
	x := realSaga(t, localStep("a"), wait, localStep("b"))
	x.on("prepare ok", core.Outcome{Kind: core.OutcomeSkipped})
	require.NoError(t, x.start())
	require.Equal(t, core.StateCompleted, x.result(x.in.ID).State)
	events := x.history(x.in.ID)
	require.Zero(t, workflowtest.Count(events, enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES))
	require.Equal(t, 1, workflowtest.Count(events, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED))
}

// TestRealSagaUndoIsRecorded: what was done is recorded before its Undo begins.
func TestRealSagaUndoIsRecorded(t *testing.T) {
	t.Parallel()
	x := realSaga(t, localStep("a"), localStep("b"), localStep("c"))
	x.on("do c", refusal)
	recorded := -1
	x.onCall = func(call string, _ activities.SagaStep) {
		if call == "undo b" {
			recorded = workflowtest.Count(x.history(x.in.ID), enumspb.EVENT_TYPE_MARKER_RECORDED)
		}
	}
	require.NoError(t, x.start())
	require.Equal(t, core.StateCompensated, x.result(x.in.ID).State)
	require.Equal(t, 3, recorded)
	events := x.history(x.in.ID)
	require.Equal(t, 2, workflowtest.Count(events, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED))
	require.Equal(t, 2, workflowtest.Count(events, enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES), "compensating, compensated")
	x.stands(core.StateCompensated)
}

// TestRealSagaMetadata: all that an operator can do is described in the Temporal UI.
func TestRealSagaMetadata(t *testing.T) {
	t.Parallel()
	x := realSaga(t, localStep("a"), waitStep("ok"))
	require.NoError(t, x.start())
	x.stands(core.StateWaiting)
	var meta sdkpb.WorkflowMetadata
	stacktest.Query(t, x.c, x.in.ID, "__temporal_workflow_metadata", &meta)
	described := map[string]string{}
	for _, d := range meta.GetDefinition().GetUpdateDefinitions() {
		described["update "+d.GetName()] = d.GetDescription()
	}
	for _, d := range meta.GetDefinition().GetSignalDefinitions() {
		described["signal "+d.GetName()] = d.GetDescription()
	}
	for _, name := range []string{sagas.UpdatePause, sagas.UpdateResume, sagas.UpdateRetry, sagas.UpdateSkip, workflows.UpdateCompensate, sagas.UpdateAnswer} {
		require.Contains(t, described["update "+name], `"operator": "ann"`)
		require.Contains(t, described["signal "+name], `"operator": "ann"`)
	}
	require.Contains(t, described["signal "+sagas.SignalReply], "Not for operators")
	for _, want := range []string{"**waiting**: `ok`: for an answer", "`answer` `{", "| `a` | done | 1 |", "| `ok` | running | 1 |", "holdfast saga"} {
		require.Contains(t, meta.GetCurrentDetails(), want)
	}
	require.NoError(t, x.c.SignalWorkflow(x.ctx(), x.in.ID, "", sagas.UpdateAnswer, ann("ok")))
	require.Equal(t, core.StateCompleted, x.result(x.in.ID).State)
	require.Equal(t, 2, workflowtest.Count(x.history(x.in.ID), enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES), "waiting, completed")
}

// TestRealSagaParkedAtOnce: a saga that parks within its first workflow task says so
// in the Temporal UI, too.
func TestRealSagaParkedAtOnce(t *testing.T) {
	parks := localStep("b")
	parks.OnFailure = core.Park
	x := realSaga(t, localStep("a"), parks)
	x.on("do b", refusal)
	require.NoError(t, x.start())
	x.stands(core.StateParked)
	var meta sdkpb.WorkflowMetadata
	stacktest.Query(t, x.c, x.in.ID, "__temporal_workflow_metadata", &meta)
	require.Contains(t, meta.GetCurrentDetails(), "**parked**: `b`: out of stock")
}

// TestRealSagaNoWorker: a saga whose version no worker has waits, visibly, and goes
// on when one comes.
func TestRealSagaNoWorker(t *testing.T) {
	t.Parallel()
	x := realSaga(t, localStep("a"), localStep("b"))
	x.absent = func(int) bool { return true }
	require.NoError(t, x.start())
	x.stands(core.StateNoWorker)
	require.Equal(t, "a", x.asked().Step)
	d, err := x.c.DescribeWorkflowExecution(x.ctx(), x.in.ID, "")
	require.NoError(t, err)
	require.Len(t, d.GetPendingActivities(), 1)
	x.mu.Lock()
	x.absent = nil
	x.mu.Unlock()
	require.Equal(t, core.StateCompleted, x.result(x.in.ID).State)
	x.stands(core.StateCompleted)
	x.history(x.in.ID)
}

// TestRealSagaStartedAgain: only one whose workflow was terminated can be started
// again, and it knows that it was.
func TestRealSagaStartedAgain(t *testing.T) {
	x := realSaga(t, localStep("a"), waitStep("ok"), localStep("b"))
	begin := func() error {
		_, _, err := sagas.Start(x.ctx(), x.c, sagas.StartConfig{Prefix: x.prefix}, x.in)
		return err
	}
	require.NoError(t, begin())
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	require.ErrorAs(t, begin(), &already)
	require.NoError(t, x.c.TerminateWorkflow(x.ctx(), x.in.ID, "", "a mistake"))
	require.NoError(t, begin())
	require.ErrorAs(t, begin(), &already)
	_, err := x.update(workflows.UpdateCompensate, ann(""))
	require.NoError(t, err)
	s := x.result(x.in.ID)
	require.Equal(t, core.StateCompensated, s.State)
	require.True(t, s.Core.Again)
	require.Equal(t, core.Undone, s.Core.Steps["b"].Status, "the run before may have done it")
	require.ErrorAs(t, begin(), &already)
}

// TestRealSagaTerminated: a saga that was terminated is undone from what is known
// of it, by a workflow of its own, and the operator can do it again.
func TestRealSagaTerminated(t *testing.T) {
	t.Parallel()
	x := realSaga(t, localStep("a"), waitStep("ok"), localStep("b"))
	require.NoError(t, x.start())
	x.stands(core.StateWaiting)
	require.NoError(t, x.c.TerminateWorkflow(x.ctx(), x.in.ID, "", "a mistake"))
	then := x.asked()
	require.Equal(t, core.StateWaiting, then.State)
	in := undoOf(x.in, then, true)
	for range 2 {
		_, err := x.c.ExecuteWorkflow(x.ctx(), sagas.UndoOptions(x.prefix, in), sagas.Name, in)
		require.NoError(t, err)
		require.Equal(t, core.StateCompensated, x.result(workflows.SagaUndoID(x.in.ID)).State)
		x.history(workflows.SagaUndoID(x.in.ID))
	}
	require.Equal(t, []string{"do a", "undo b", "undo a", "undo b", "undo a"}, x.called())
}

// TestRealSubSaga: the child is a saga like any other, with its own operators.
func TestRealSubSaga(t *testing.T) {
	t.Parallel()
	x := realSaga(t, localStep("a"), subStep("send", localStep("pack"), waitStep("pickup")), localStep("z"))
	x.on("do z", refusal)
	require.NoError(t, x.start())
	parent := x.in.ID
	x.in.ID = "saga/shop/parcel/order." + x.in.Key + ".send"
	workflowtest.Until(t, "the sub-saga is there", func() bool {
		_, err := x.c.DescribeWorkflowExecution(x.ctx(), x.in.ID, "")
		return err == nil
	})
	x.stands(core.StateWaiting)
	_, err := x.update(sagas.UpdateAnswer, ann("pickup"))
	require.NoError(t, err)
	require.Equal(t, core.StateCompensated, x.result(parent).State)
	require.Equal(t, core.StateCompleted, x.result(x.in.ID).State)
	require.Equal(t, core.StateCompensated, x.result(workflows.SagaUndoID(x.in.ID)).State)
	require.Equal(t, []string{"undo pack", "undo a"}, x.called()[len(x.called())-2:])
	for _, id := range []string{parent, x.in.ID, workflows.SagaUndoID(x.in.ID)} {
		x.history(id)
	}
}

// TestRealSagaRenewed: a history of thousands of events goes on in a new run.
func TestRealSagaRenewed(t *testing.T) {
	t.Parallel()
	x := realSaga(t, localStep("a"), messageStep("stock"), waitStep("ok"))
	x.on("do stock", noReply)
	require.NoError(t, x.start())
	first := x.run()
	for n := 0; x.run() == first; n++ {
		for range 200 {
			require.NoError(t, x.c.SignalWorkflow(x.ctx(), x.in.ID, "", sagas.SignalReply, sagas.Reply{Step: "a", Outcome: core.OutcomeDone,
				Result: json.RawMessage(`"` + strings.Repeat("x", 10000) + `"`)}))
		}
	}
	x.on("do stock", wellDone)
	_, err := x.update(sagas.UpdateAnswer, ann("ok"))
	require.NoError(t, err)
	require.NoError(t, x.c.SignalWorkflow(x.ctx(), x.in.ID, "", sagas.SignalReply, sagas.Reply{Step: "stock", Outcome: core.OutcomeDone}))
	s := x.result(x.in.ID)
	require.Equal(t, core.StateCompleted, s.State)
	require.GreaterOrEqual(t, s.Late, 200)
	x.history(x.in.ID)
}

// run is the ID of the run that runs now.
func (x *theatre) run() string {
	x.t.Helper()
	d, err := x.c.DescribeWorkflowExecution(x.ctx(), x.in.ID, "")
	require.NoError(x.t, err)
	return d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
}

// TestRecordSagas records the histories of sagas for the replay tests, where
// HOLDFAST_RECORD is 1. They replace those of the same names.
func TestRecordSagas(t *testing.T) {
	if os.Getenv("HOLDFAST_RECORD") != "1" {
		t.Skip("set HOLDFAST_RECORD=1 to record histories")
	}
	parks := localStep("b")
	parks.OnFailure = core.Park
	tardy := messageStep("slow")
	tardy.Timeout, tardy.Retry = 2*time.Second, core.Retry{Attempts: 2, First: 1}
	send := subStep("send", localStep("pack"), waitStep("pickup"))
	for name, x := range map[string]struct {
		steps []core.Step
		play  func(x *theatre)
	}{
		"happy":   {steps: []core.Step{localStep("a"), messageStep("stock"), localStep("c")}},
		"refused": {[]core.Step{localStep("a"), messageStep("stock"), localStep("c")}, nil},
		"retried": {[]core.Step{localStep("a"), localStep("failing")}, nil},
		"parked": {[]core.Step{localStep("a"), parks}, func(x *theatre) {
			x.stands(core.StateParked)
			x.on("do b", wellDone)
			_, err := x.update(sagas.UpdateRetry, ann("b"))
			require.NoError(t, err)
		}},
		"replied": {[]core.Step{localStep("a"), messageStep("slow"), localStep("c")}, func(x *theatre) {
			x.replied("slow")
		}},
		"paused": {[]core.Step{localStep("a"), messageStep("slow"), localStep("c")}, func(x *theatre) {
			_, err := x.update(sagas.UpdatePause, ann(""))
			require.NoError(t, err)
			x.replied("slow")
			require.NoError(t, x.c.SignalWorkflow(x.ctx(), x.in.ID, "", sagas.UpdateResume, ann("")))
		}},
		"answered": {[]core.Step{localStep("a"), waitStep("ok"), localStep("c")}, func(x *theatre) {
			_, err := x.update(sagas.UpdateAnswer, ann("ok"))
			require.NoError(t, err)
		}},
		"cancelled": {[]core.Step{localStep("a"), waitStep("ok"), localStep("c")}, func(x *theatre) {
			require.NoError(t, x.c.CancelWorkflow(x.ctx(), x.in.ID, ""))
		}},
		"parallel": {[]core.Step{localStep("a"), group(core.Parallel, "all", messageStep("slow"), messageStep("stock"), waitStep("ok")), localStep("c")}, func(x *theatre) {
			_, err := x.update(sagas.UpdateAnswer, ann("ok"))
			require.NoError(t, err)
			x.replied("slow")
		}},
		"sub-saga": {[]core.Step{localStep("a"), send, localStep("refusing")}, func(x *theatre) {
			id := x.in.ID
			x.in.ID = "saga/shop/parcel/order." + x.in.Key + ".send"
			workflowtest.Until(t, "the sub-saga is there", func() bool {
				_, err := x.c.DescribeWorkflowExecution(x.ctx(), x.in.ID, "")
				return err == nil
			})
			x.stands(core.StateWaiting)
			_, err := x.update(sagas.UpdateAnswer, ann("pickup"))
			require.NoError(t, err)
			x.in.ID = id
		}},
		"undone": {[]core.Step{localStep("a"), localStep("b")}, func(x *theatre) {
			in := undoOf(x.in, x.result(x.in.ID), false)
			_, err := x.c.ExecuteWorkflow(x.ctx(), sagas.UndoOptions(x.prefix, in), sagas.Name, in)
			require.NoError(t, err)
			x.in.ID = workflows.SagaUndoID(x.in.ID)
		}},
		"unreplied": {[]core.Step{localStep("a"), tardy}, nil},
		"no-worker": {[]core.Step{localStep("a")}, func(x *theatre) {
			x.stands(core.StateNoWorker)
			x.mu.Lock()
			x.absent = nil
			x.mu.Unlock()
		}},
		// The activities of these are named after the steps; the second of them meets
		// processes that do not know the names, the third an activity of a step's name.
		"named":       {[]core.Step{localStep("create-order"), messageStep("stock"), localStep("failing"), localStep("refusing")}, nil},
		"named-older": {[]core.Step{localStep("create-order"), messageStep("stock"), localStep("failing"), localStep("refusing")}, nil},
		"named-other": {[]core.Step{localStep("create-order"), localStep("b"), localStep("refusing")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := realSaga(t, x.steps...)
			r.in.StepNames = strings.HasPrefix(name, "named")
			r.on("do slow", noReply)
			r.on("do refusing", refusal)
			r.on("do failing", oops, wellDone)
			switch name {
			case "refused":
				r.on("do c", refusal)
			case "parked":
				r.on("do b", forGood)
			case "no-worker":
				r.absent = func(int) bool { return true }
			case "named-older":
				r.apart(func(w sdkworker.Worker) { old(w, r.stage) })
			case "named-other":
				r.beside(func(context.Context, any) error { return nil }, "b", "undo b")
			}
			require.NoError(t, r.start())
			if x.play != nil {
				x.play(r)
			}
			r.result(r.in.ID)
			r.save("saga-" + name)
		})
	}
}

// replied sends the reply that a saga waits for.
func (x *theatre) replied(step string) {
	x.t.Helper()
	workflowtest.Until(x.t, step+" is asked", func() bool { return x.asked().Core.Steps[step] != nil })
	require.NoError(x.t, x.c.SignalWorkflow(x.ctx(), x.in.ID, "", sagas.SignalReply, sagas.Reply{Step: step, Outcome: core.OutcomeDone}))
}

// save writes a history, without names of this machine.
func (x *theatre) save(name string) {
	x.t.Helper()
	text, err := protojson.MarshalOptions{Indent: " "}.Marshal(&historypb.History{Events: x.history(x.in.ID)})
	require.NoError(x.t, err)
	host, err := os.Hostname()
	require.NoError(x.t, err)
	clean := string(text)
	for _, e := range x.history(x.in.ID) {
		for _, identity := range []string{e.GetWorkflowTaskStartedEventAttributes().GetIdentity(), e.GetWorkflowExecutionStartedEventAttributes().GetIdentity()} {
			if identity != "" {
				clean = strings.ReplaceAll(clean, identity, "recorder")
			}
		}
	}
	clean = strings.ReplaceAll(clean, `"`+host+`:`, `"recorder:`) // a worker's sticky queue
	require.NotContains(x.t, clean, host, name)
	require.NoError(x.t, os.WriteFile(filepath.Join("..", "testdata", "histories", name+".json"), []byte(clean+"\n"), 0o644))
}

// TestRealSagaTimesOut: how often a step is tried is the machine's to say, and not
// Temporal's.
func TestRealSagaTimesOut(t *testing.T) {
	t.Parallel()
	slow, bad := localStep("slow"), localStep("bad")
	slow.Timeout, slow.Retry = 10*time.Second, core.Retry{First: 1}
	bad.Retry = core.Retry{Attempts: 3, First: 1}
	x := realSaga(t, slow, bad)
	x.hang = func(ctx context.Context, call string, n int) {
		if call == "do slow" && n == 2 {
			<-ctx.Done()
		}
		if call == "do bad" {
			panic("bug")
		}
	}
	x.on("do slow", oops, wellDone)
	require.NoError(t, x.start())
	s := x.result(x.in.ID)
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, 3, s.Core.Steps["slow"].Tries)
	require.Equal(t, 3, x.tried["do slow"])
	require.Equal(t, 3, s.Core.Steps["bad"].Tries)
	require.Equal(t, 3, x.tried["do bad"])
	require.Equal(t, "panic: bug", s.Core.Cause.Reason)
	events := x.history(x.in.ID)
	require.Equal(t, 1, workflowtest.Count(events, enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT))
}

// TestRealSubSagaRunsAlready: a saga that was lost, and started once more, finds its
// sub-saga: it waits for that, and then for what that did.
func TestRealSubSagaRunsAlready(t *testing.T) {
	t.Parallel()
	x := realSaga(t, subStep("send", localStep("pack"), waitStep("pickup")), localStep("z"))
	require.NoError(t, x.start())
	parent := x.in.ID
	child := "saga/shop/parcel/order." + x.in.Key + ".send"
	x.in.ID = child
	workflowtest.Until(t, "the sub-saga is there", func() bool {
		_, err := x.c.DescribeWorkflowExecution(x.ctx(), child, "")
		return err == nil
	})
	x.stands(core.StateWaiting)
	require.NoError(t, x.c.TerminateWorkflow(x.ctx(), parent, "", "a mistake"))
	x.in.ID = parent
	require.NoError(t, x.start())
	x.in.ID = child
	workflowtest.Until(t, "the sub-saga is found", func() bool { return x.tasks(parent) >= 2 })
	_, err := x.update(sagas.UpdateAnswer, ann("pickup"))
	require.NoError(t, err)
	require.Equal(t, core.StateCompleted, x.result(child).State)
	first := x.run()
	workflowtest.Until(t, "the sub-saga is begun once more", func() bool { return x.run() != first })
	x.stands(core.StateWaiting)
	_, err = x.update(sagas.UpdateAnswer, ann("pickup"))
	require.NoError(t, err)
	require.Equal(t, core.StateCompleted, x.result(parent).State)
	x.history(parent)
}

// tasks counts the workflow tasks of a saga.
func (x *theatre) tasks(id string) int {
	return workflowtest.Count(x.history(id), enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
}

// TestRealSagaActivityStopped: an activity that is asked to cancel may still act: it
// is undone only once it has ended.
func TestRealSagaActivityStopped(t *testing.T) {
	t.Parallel()
	x := realSaga(t)
	flight := activityStep("flight")
	flight.TaskQueue = x.prefix + ".flights"
	x.in.Plan.Steps = []core.Step{localStep("a"), flight}
	began, release := make(chan struct{}), make(chan struct{})
	w := sdkworker.New(x.c, flight.TaskQueue, sdkworker.Options{})
	w.RegisterActivityWithOptions(func(context.Context, core.ActivityInput) error {
		close(began)
		<-release
		return nil
	}, activity.RegisterOptions{Name: "book"})
	w.RegisterActivityWithOptions(func(context.Context, core.ActivityInput) error { return nil }, activity.RegisterOptions{Name: "unbook"})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	require.NoError(t, x.start())
	<-began
	_, err := x.update(workflows.UpdateCompensate, ann(""))
	require.NoError(t, err)
	var events []*historypb.HistoryEvent
	workflowtest.Until(t, "the activity is asked to cancel", func() bool {
		events = x.history(x.in.ID)
		return workflowtest.Count(events, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED) == 1
	})
	require.Equal(t, 1, workflowtest.Count(events, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED))
	close(release)
	s := x.result(x.in.ID)
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, core.Undone, s.Core.Steps["flight"].Status)
	require.Equal(t, []string{"do a", "prepare flight", "prepare flight", "undo a"}, x.called())
}
