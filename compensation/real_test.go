package compensation_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/compensation"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

const patience = 5 * time.Minute // a busy machine

// agency runs workflows on a real Temporal, with the activities of a desk.
type agency struct {
	*desk
	t     *testing.T
	c     client.Client
	queue string
}

func open(t *testing.T) *agency {
	t.Helper()
	s := stacktest.Shared(t)
	return &agency{desk: &desk{fails: map[string]int{}}, t: t, c: stacktest.TemporalClient(t, s), queue: stacktest.Prefix(t)}
}

// work starts a worker with the workflow and returns what stops it.
func (a *agency) work(body func(workflow.Context) error) (stop func()) {
	a.t.Helper()
	w := sdkworker.New(a.c, a.queue, sdkworker.Options{DeadlockDetectionTimeout: patience})
	w.RegisterWorkflowWithOptions(body, workflow.RegisterOptions{Name: "body"})
	w.RegisterActivity(a.desk)
	require.NoError(a.t, w.Start())
	stop = sync.OnceFunc(w.Stop)
	a.t.Cleanup(stop)
	return stop
}

func (a *agency) start() client.WorkflowRun {
	a.t.Helper()
	r, err := a.c.ExecuteWorkflow(a.ctx(), client.StartWorkflowOptions{ID: a.queue, TaskQueue: a.queue}, "body")
	require.NoError(a.t, err)
	return r
}

func (a *agency) ctx() context.Context {
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	a.t.Cleanup(cancel)
	return ctx
}

// history returns the workflow's history, which the workflow as it is can replay.
func (a *agency) history(body func(workflow.Context) error) []*historypb.HistoryEvent {
	a.t.Helper()
	h := &historypb.History{}
	for it := a.c.GetWorkflowHistory(a.ctx(), a.queue, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		e, err := it.Next()
		require.NoError(a.t, err)
		h.Events = append(h.Events, e)
	}
	replayer := stacktest.Replayer(a.t)
	replayer.RegisterWorkflowWithOptions(body, workflow.RegisterOptions{Name: "body"})
	require.NoError(a.t, replayer.ReplayWorkflowHistory(nil, h))
	return h.Events
}

func (a *agency) called() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

// trip books nothing and undoes everything: two in a nested stack at once, then one
// that fails at first.
func trip(ctx workflow.Context) (err error) {
	undo := compensation.Stack{Activity: workflow.ActivityOptions{RetryPolicy: &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond}}}
	defer func() { err = undo.RunAfter(ctx, err) }()
	of := (*desk)(nil)
	compensation.Add(&undo, "cancel the hotel", of.CancelHotel, "H-7")
	flights := &compensation.Stack{Parallel: true}
	undo.Nest("flights", flights)
	compensation.AddResult(flights, "cancel the flight out", of.CancelFlight, booking{"F-8", 1})
	compensation.AddResult(flights, "cancel the flight back", of.CancelFlight, booking{"F-9", 2})
	return temporal.NewApplicationError("no car", "NoCar")
}

func TestOnAServer(t *testing.T) {
	a := open(t)
	a.fails["hotel H-7"] = 2
	a.work(trip)
	err := a.start().Get(a.ctx(), nil)
	var cause *temporal.ApplicationError
	require.ErrorAs(t, err, &cause)
	require.Equal(t, "NoCar", cause.Type())
	calls := a.called()
	require.ElementsMatch(t, []string{"flight F-8 1", "flight F-9 2"}, calls[:2])
	require.Equal(t, []string{"hotel H-7", "hotel H-7", "hotel H-7"}, calls[2:])

	var summaries []string
	for _, e := range a.history(trip) {
		if e.GetEventType() == enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED {
			summaries = append(summaries, string(e.GetUserMetadata().GetSummary().GetData()))
		}
	}
	require.Equal(t, []string{`"cancel the flight back"`, `"cancel the flight out"`, `"cancel the hotel"`}, summaries)
}

// stay waits until it is cancelled and undoes one thing, which is tried once.
func stay(ctx workflow.Context) (err error) {
	undo := compensation.Stack{Activity: workflow.ActivityOptions{RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}}}
	defer func() { err = undo.RunAfter(ctx, err) }()
	compensation.Add(&undo, "cancel the hotel", (*desk)(nil).CancelHotel, "H-7")
	return workflow.Sleep(ctx, time.Hour)
}

func TestCancelledOnAServer(t *testing.T) {
	a := open(t)
	a.work(stay)
	r := a.start()
	require.NoError(t, a.c.CancelWorkflow(a.ctx(), r.GetID(), ""))
	var canceled *temporal.CanceledError
	require.ErrorAs(t, r.Get(a.ctx(), nil), &canceled)
	require.Equal(t, []string{"hotel H-7"}, a.called())
	a.history(stay)
}

func TestFailedCompensationIsNotListedAsCanceled(t *testing.T) {
	a := open(t)
	a.fails["hotel H-7"] = 1
	a.work(stay)
	r := a.start()
	require.NoError(t, a.c.CancelWorkflow(a.ctx(), r.GetID(), ""))
	var failed *temporal.ApplicationError
	require.ErrorAs(t, r.Get(a.ctx(), nil), &failed)
	require.Equal(t, compensation.FailedType, failed.Type())
	var report compensation.Report
	require.NoError(t, failed.Details(&report))
	require.Len(t, report.Failed(), 1)
	require.ErrorContains(t, report.Err(), "compensate: cancel the hotel: ")
	require.ErrorContains(t, report.Err(), "does not answer")
	d, err := a.c.DescribeWorkflowExecution(a.ctx(), r.GetID(), "")
	require.NoError(t, err)
	require.Equal(t, enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, d.GetWorkflowExecutionInfo().GetStatus())
	a.history(stay)
}

// TestPanicOfWorkflowCode mends a compensation that panics while its workflow is
// compensating, in another worker.
func TestPanicOfWorkflowCode(t *testing.T) {
	a := open(t)
	body := func(between func()) func(workflow.Context) error {
		return func(ctx workflow.Context) error {
			var undo compensation.Stack
			compensation.Add(&undo, "first", (*desk)(nil).CancelHotel, "first")
			undo.Push("between", func(workflow.Context) error { between(); return nil })
			compensation.Add(&undo, "last", (*desk)(nil).CancelHotel, "last")
			return undo.RunAfter(ctx, errors.New("no seats"))
		}
	}
	panicked := make(chan struct{})
	once := sync.OnceFunc(func() { close(panicked) })
	stop := a.work(body(func() { once(); panic("nil pointer") }))
	r := a.start()
	select {
	case <-panicked:
	case <-a.ctx().Done():
		t.Fatal("the compensation was not run")
	}
	stop()
	mended := body(func() {})
	a.work(mended)
	require.ErrorContains(t, r.Get(a.ctx(), nil), "no seats")
	require.Equal(t, []string{"hotel last", "hotel first"}, a.called())
	for _, e := range a.history(mended) {
		if o := e.GetActivityTaskScheduledEventAttributes(); o != nil { // by default
			require.Equal(t, time.Minute, o.GetStartToCloseTimeout().AsDuration())
			require.Equal(t, int32(10), o.GetRetryPolicy().GetMaximumAttempts())
			require.Equal(t, time.Second, o.GetRetryPolicy().GetInitialInterval().AsDuration())
			require.Equal(t, time.Minute, o.GetRetryPolicy().GetMaximumInterval().AsDuration())
		}
	}
}
