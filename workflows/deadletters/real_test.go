package deadletters_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/deadletters"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

// cemetery runs dead letters on a real Temporal, with steps of its own.
type cemetery struct {
	*grave
	t      *testing.T
	c      client.Client
	prefix string
	letter holdfast.DeadLetter
}

// realDead starts a worker for the dead letters of a prefix of its own, and one
// for its group.
func realDead(t *testing.T, policy holdfast.Policy) *cemetery {
	t.Helper()
	s := stacktest.Shared(t)
	x := &cemetery{grave: &grave{}, t: t, c: stacktest.TemporalClient(t, s), prefix: stacktest.Prefix(t), letter: letter(policy)}
	x.letter.ID = x.prefix // the same on every server
	require.NoError(t, worker.EnsureSearchAttributes(t.Context(), x.c, s.Namespace()))
	steps := &activities.DeadLetters{Redeliver: x.grave, Notify: x.grave, Compensations: x.grave, Alerts: x.grave}
	letters := sdkworker.New(x.c, workflows.DeadLetterQueue(x.prefix), sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience})
	letters.RegisterWorkflowWithOptions(deadletters.DeadLetter, workflow.RegisterOptions{Name: deadletters.Name})
	steps.Register(letters)
	group := sdkworker.New(x.c, workflows.TaskQueue(x.prefix, x.letter.Group), sdkworker.Options{})
	steps.RegisterGroup(group)
	for _, w := range []sdkworker.Worker{letters, group} {
		require.NoError(t, w.Start())
		t.Cleanup(w.Stop)
	}
	return x
}

func (x *cemetery) ctx() context.Context {
	ctx, cancel := context.WithTimeout(x.t.Context(), workflowtest.Patience)
	x.t.Cleanup(cancel)
	return ctx
}

func (x *cemetery) id() string { return workflows.DeadLetterID(x.prefix, x.letter) }

// start starts the workflow as an intake does.
func (x *cemetery) start() error {
	in := deadletters.Input{Prefix: x.prefix, Letter: x.letter}
	_, err := x.c.ExecuteWorkflow(x.ctx(), deadletters.StartOptions(in), deadletters.Name, in)
	return err
}

// update sends an Update and waits for its answer.
func (x *cemetery) update(name string, req deadletters.Request) (s deadletters.Status, err error) {
	x.t.Helper()
	h, err := x.c.UpdateWorkflow(x.ctx(), client.UpdateWorkflowOptions{WorkflowID: x.id(), UpdateName: name, Args: []any{req},
		WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return s, err
	}
	return s, h.Get(x.ctx(), &s)
}

func (x *cemetery) signal(name string, arg any) {
	x.t.Helper()
	require.NoError(x.t, x.c.SignalWorkflow(x.ctx(), x.id(), "", name, arg))
}

// result waits for the end.
func (x *cemetery) result() (s deadletters.Status) {
	x.t.Helper()
	require.NoError(x.t, x.c.GetWorkflow(x.ctx(), x.id(), "").Get(x.ctx(), &s))
	return s
}

func (x *cemetery) asked() (s deadletters.Status) {
	x.t.Helper()
	stacktest.Query(x.t, x.c, x.id(), workflows.QueryStatus, &s)
	return s
}

// history is that of the last run; it must replay.
func (x *cemetery) history() []*historypb.HistoryEvent {
	x.t.Helper()
	var h historypb.History
	for i := x.c.GetWorkflowHistory(x.ctx(), x.id(), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); i.HasNext(); {
		e, err := i.Next()
		require.NoError(x.t, err)
		h.Events = append(h.Events, e)
	}
	r := stacktest.Replayer(x.t)
	r.RegisterWorkflowWithOptions(deadletters.DeadLetter, workflow.RegisterOptions{Name: deadletters.Name})
	require.NoError(x.t, r.ReplayWorkflowHistory(nil, &h))
	return h.Events
}

// TestRealDeadLetter is the usual life of a dead letter, and what it costs: an
// operator's redelivery is one workflow task.
func TestRealDeadLetter(t *testing.T) {
	x := realDead(t, holdfast.Policy{})
	require.NoError(t, x.start())
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	require.ErrorAs(t, x.start(), &already, "a copy, while the first one runs")
	x.signal(deadletters.SignalDied, x.letter.Failure)

	s, err := x.update(deadletters.UpdateRedeliver, by("ann"))
	require.NoError(t, err)
	require.Equal(t, workflows.Redelivering, s.State)
	require.Equal(t, 1, s.Duplicates)
	events := x.history()
	require.True(t, events[0].GetWorkflowExecutionStartedEventAttributes().GetEagerExecutionAccepted())
	require.LessOrEqual(t, workflowtest.Count(events, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED), 3, "start, signal, Update")
	require.Zero(t, workflowtest.Count(events, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED))
	require.Equal(t, 2, workflowtest.Count(events, enumspb.EVENT_TYPE_MARKER_RECORDED), "the alert and the redelivery")

	_, err = x.update(deadletters.UpdateDiscard, by("bob"))
	require.ErrorContains(t, err, "the consumer has not answered redelivery 1")
	x.onRedelivery = func(r activities.Redelivery) { x.signal(deadletters.SignalHandled, r.N) }
	wait := by("ann")
	wait.Wait = time.Minute
	s, err = x.update(deadletters.UpdateRedeliver, wait)
	require.NoError(t, err)
	require.Equal(t, workflows.Handled, s.State, "the answer comes although the workflow ends with it")
	require.Equal(t, workflows.Handled, x.result().State)
	require.ErrorAs(t, x.start(), &already, "a copy, after it is settled")
	events = x.history()
	require.Equal(t, 2, workflowtest.Count(events, enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES), "redelivering, handled")
	require.Equal(t, []holdfast.AlertKind{holdfast.AlertDeadLetter}, x.kinds())
}

// TestRealSignalsAndMetadata: everything that an operator can do is described in
// the Temporal UI, and can be sent as a signal.
func TestRealSignalsAndMetadata(t *testing.T) {
	x := realDead(t, holdfast.Policy{})
	require.NoError(t, x.start())
	var meta sdkpb.WorkflowMetadata
	stacktest.Query(t, x.c, x.id(), "__temporal_workflow_metadata", &meta)
	described := map[string]string{}
	for _, d := range meta.GetDefinition().GetUpdateDefinitions() {
		described["update "+d.GetName()] = d.GetDescription()
	}
	for _, d := range meta.GetDefinition().GetSignalDefinitions() {
		described["signal "+d.GetName()] = d.GetDescription()
	}
	for _, name := range []string{deadletters.UpdateRedeliver, deadletters.UpdateRedeliverEdited, workflows.UpdateCompensate, deadletters.UpdateDiscard} {
		require.Contains(t, described["update "+name], `"operator": "ann"`)
		require.Contains(t, described["signal "+name], `"operator": "ann"`)
	}
	require.Contains(t, described["signal "+deadletters.SignalDied], "Not for operators")
	require.Contains(t, described["signal "+deadletters.SignalHandled], "Not for operators")
	for _, want := range []string{"**parked**: payment gave it up", "| 1 | ", "card declined", "`redeliver` `{", "holdfast dead"} {
		require.Contains(t, meta.GetCurrentDetails(), want)
	}
	x.signal(workflows.UpdateCompensate, by("batch"))
	s := x.result()
	require.Equal(t, workflows.Compensated, s.State)
	require.Equal(t, []string{"died", "compensate", "compensated", "notified"}, happened(s))
	x.history()
}

// TestRealTerminated: a dead letter whose workflow was terminated is not lost:
// whoever has its input starts it again.
func TestRealTerminated(t *testing.T) {
	x := realDead(t, holdfast.Policy{})
	require.NoError(t, x.start())
	require.NoError(t, x.c.TerminateWorkflow(x.ctx(), x.id(), "", "a mistake"))
	require.NoError(t, x.start())
	require.Equal(t, workflows.Parked, x.asked().State)
	require.NoError(t, x.c.CancelWorkflow(x.ctx(), x.id(), ""))
	workflowtest.Until(t, "the request to cancel is told", func() bool { return strings.Contains(strings.Join(happened(x.asked()), " "), "cancel") })
	_, err := x.update(deadletters.UpdateDiscard, by("ann"))
	require.NoError(t, err)
	require.Equal(t, workflows.Discarded, x.result().State)
	x.history()
}

// TestRealLists: what a list shows comes from visibility alone.
func TestRealLists(t *testing.T) {
	x := realDead(t, holdfast.Policy{})
	require.NoError(t, x.start())
	_, err := x.update(deadletters.UpdateRedeliver, by("ann"))
	require.NoError(t, err)
	x.signal(deadletters.SignalDied, died(1, "still declined"))
	workflowtest.Until(t, "the list shows the second death", func() bool {
		d, err := x.c.DescribeWorkflowExecution(x.ctx(), x.id(), "")
		require.NoError(t, err)
		info := d.GetWorkflowExecutionInfo()
		return string(info.GetSearchAttributes().GetIndexedFields()[workflows.AttributeState].GetData()) == `"parked"` &&
			string(info.GetSearchAttributes().GetIndexedFields()[workflows.AttributeTopic].GetData()) == `"order.placed"` &&
			string(info.GetSearchAttributes().GetIndexedFields()[workflows.AttributeKey].GetData()) == `["A-1007"]` &&
			string(info.GetMemo().GetFields()[deadletters.MemoReason].GetData()) == `"still declined"` &&
			string(info.GetMemo().GetFields()[deadletters.MemoConsumer].GetData()) == `"payment"` &&
			string(info.GetMemo().GetFields()[deadletters.MemoAttempts].GetData()) == `3`
	})
	_, err = x.update(deadletters.UpdateDiscard, by("ann"))
	require.NoError(t, err)
	x.history()
}

// TestRealLargeBodies: bodies of 1 MiB, edited and not, while the broker is slow,
// until the history is too long for one run.
func TestRealLargeBodies(t *testing.T) {
	x := realDead(t, holdfast.Policy{AllowEdits: true})
	x.letter.Message.Body = make([]byte, holdfast.MaxBody)
	_, _ = rand.Read(x.letter.Message.Body)
	x.letter.Size = len(x.letter.Message.Body)
	x.redeliverErr = func(attempt int) error {
		if attempt%2 == 1 {
			return errDown // the local try
		}
		return nil
	}
	require.NoError(t, x.start())
	first := x.run()
	edited := by("ann")
	edited.Base64 = bytes.Clone(x.letter.Message.Body)
	edited.Base64[0]++
	for n := 1; n <= 2; n++ {
		name, req := deadletters.UpdateRedeliver, by("ann")
		if n%2 == 1 {
			name, req = deadletters.UpdateRedeliverEdited, edited
		}
		_, err := x.update(name, req)
		require.NoError(t, err)
		x.signal(deadletters.SignalDied, died(n, fmt.Sprintf("death %d", n)))
		workflowtest.Until(t, "it is parked again", func() bool { s := x.asked(); return s.State == workflows.Parked && s.Failure.Redelivery == n })
	}
	require.NotEqual(t, first, x.run(), "it has continued as new")
	require.Equal(t, edited.Base64, x.redelivered[0].Edit.Body)
	require.Equal(t, x.letter.Message.Body, x.redelivered[1].Letter.Message.Body)
	d, err := x.c.DescribeWorkflowExecution(x.ctx(), x.id(), "")
	require.NoError(t, err)
	require.Equal(t, `"parked"`, string(d.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()[workflows.AttributeState].GetData()))
	require.Equal(t, `"death 2"`, string(d.GetWorkflowExecutionInfo().GetMemo().GetFields()[deadletters.MemoReason].GetData()))
	s, err := x.update(workflows.UpdateCompensate, by("ann"))
	require.NoError(t, err)
	require.Equal(t, workflows.Compensated, s.State)
	require.Equal(t, 2, s.Redeliveries)
	x.history()
}

// run is the ID of the run that runs now.
func (x *cemetery) run() string {
	x.t.Helper()
	d, err := x.c.DescribeWorkflowExecution(x.ctx(), x.id(), "")
	require.NoError(x.t, err)
	return d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
}
