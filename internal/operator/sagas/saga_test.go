package sagas

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

func TestSagaQuery(t *testing.T) {
	const types = `(WorkflowType = "Saga" OR WorkflowType = "SagaCohort")`
	const kind = types + ` AND TaskQueue STARTS_WITH "hf."`
	const all = kind + ` AND ExecutionStatus != "ContinuedAsNew"`
	at := time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))
	for name, tc := range map[string]struct {
		f    Filter
		want string
	}{
		"all":       {Filter{}, all},
		"all, said": {Filter{States: []string{"all", "parked"}}, all},
		"group":     {Filter{Group: "orders"}, types + ` AND TaskQueue = "hf.orders" AND ExecutionStatus != "ContinuedAsNew"`},
		"running":   {Filter{States: []string{"running"}}, kind + ` AND (ExecutionStatus = "Running" AND (HoldfastState IS NULL OR HoldfastState = "running"))`},
		"parked":    {Filter{States: []string{"parked"}}, kind + ` AND (ExecutionStatus = "Running" AND HoldfastState = "parked")`},
		"completed": {Filter{States: []string{"completed"}}, kind + ` AND (ExecutionStatus = "Completed" AND (HoldfastState IS NULL OR HoldfastState != "compensated"))`},
		"several": {Filter{States: []string{"compensated", "terminated"}},
			kind + ` AND ((ExecutionStatus = "Completed" AND HoldfastState = "compensated") OR ExecutionStatus = "Terminated")`},
		"name and key": {Filter{Name: "order-payment", Key: "A-1"}, all + ` AND (HoldfastTopic = "order-payment" OR ` +
			`WorkflowType = "SagaCohort" AND HoldfastKey = "order-payment") AND HoldfastKey = "A-1"`},
		"quotes": {Filter{Group: `a"b`, Name: `a\`, Key: `a" OR "1"="1`}, all},
		"age":    {Filter{Before: at, After: at.Add(-time.Hour)}, all + ` AND StartTime < "2026-01-02T03:04:05Z" AND StartTime >= "2026-01-02T02:04:05Z"`},
		"age of what may be undone": {Filter{States: []string{"parked"}, Before: at},
			kind + ` AND (ExecutionStatus = "Running" AND HoldfastState = "parked")`},
	} {
		t.Run(name, func(t *testing.T) {
			tc.f.Prefix = "hf"
			require.Equal(t, tc.want, tc.f.Query())
		})
	}
}

func TestSagaFilterMatches(t *testing.T) {
	r := Row{ID: "saga/orders/pay/A-1", Group: "orders", Name: "pay", Key: "A-1", State: "parked", Started: noon, taskQueue: "hf.orders"}
	for name, f := range map[string]Filter{
		"all": {}, "group": {Group: "orders"}, "name": {Name: "pay"}, "key": {Key: "A-1"}, "state": {States: []string{"waiting", "parked"}},
		"any state": {States: []string{"all"}}, "since": {After: noon}, "until": {Before: noon.Add(1)},
	} {
		f.Prefix = "hf"
		require.True(t, f.Matches(r), name)
	}
	for name, f := range map[string]Filter{
		"group": {Group: "order"}, "name": {Name: "Pay"}, "key": {Key: "a-1"}, "state": {States: []string{"completed"}},
		"since": {After: noon.Add(1)}, "until": {Before: noon},
	} {
		f.Prefix = "hf"
		require.False(t, f.Matches(r), name)
	}
	r.taskQueue = "hf.x.orders"
	require.False(t, Filter{Prefix: "hf"}.Matches(r), "a prefix that begins the same")
	require.NoError(t, Filter{States: States}.Validate())
	require.ErrorContains(t, Filter{States: []string{"odd"}}.Validate(), "want running, waiting, paused")
	require.ErrorContains(t, Filter{Key: "a\nb"}.Validate(), "control characters")
}

func TestSagaIDs(t *testing.T) {
	for id, want := range map[string]struct {
		id   string
		undo bool
		ok   bool
	}{
		"saga/orders/pay/A-1":       {"saga/orders/pay/A-1", false, true},
		"saga/orders/pay/A-1/undo":  {"saga/orders/pay/A-1", true, true},
		"saga/orders/pay/undo":      {"saga/orders/pay/undo", false, true},
		"saga/orders/pay/undo/undo": {"saga/orders/pay/undo", true, true},
		"saga/orders/pay":           {"saga/orders/pay", false, false},
		"saga/orders/pay/a/b":       {"saga/orders/pay/a/b", false, false},
		"tx/orders/1":               {"tx/orders/1", false, false},
	} {
		own, undo := sagaOf(id)
		_, _, _, ok := SplitID(own)
		require.Equal(t, want, struct {
			id   string
			undo bool
			ok   bool
		}{own, undo, ok}, id)
	}
	require.Equal(t, "saga/g/n/k/undo", workflows.SagaUndoID("saga/g/n/k"))
}

func TestSagaState(t *testing.T) {
	const running, completed = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	for want, tc := range map[string]struct {
		status    enumspb.WorkflowExecutionStatus
		attribute string
		undo      bool
	}{
		"running":      {running, "", false},
		"parked":       {running, "parked", false},
		"completed":    {completed, "waiting", false}, // its last state before
		"compensated":  {completed, "compensated", false},
		"compensating": {running, "", true},
		"terminated":   {enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED, "parked", false},
		"failed":       {enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, "", true},
	} {
		require.Equal(t, want, sagaState(tc.status, tc.attribute, tc.undo))
	}
	require.Equal(t, "compensated", sagaState(completed, "", true))
}

// TestTwoWorkflowsAreOneSaga: what undid an earlier saga of the same key says
// nothing of this one.
func TestTwoWorkflowsAreOneSaga(t *testing.T) {
	info := func(id string, status enumspb.WorkflowExecutionStatus, began, ended time.Duration) *workflowpb.WorkflowExecutionInfo {
		i := &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: "run of " + id}, Status: status,
			StartTime: timestamppb.New(noon.Add(began)), TaskQueue: "hf.orders"}
		if ended > 0 {
			i.CloseTime = timestamppb.New(noon.Add(ended))
		}
		return i
	}
	const id, undo = "saga/orders/pay/1", "saga/orders/pay/1/undo"
	const running, completed, terminated = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED, enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED
	undone := info(undo, completed, 2*time.Hour, 3*time.Hour)
	for name, tc := range map[string]struct {
		own, undo *workflowpb.WorkflowExecutionInfo
		state     string
		workflow  string
		started   time.Duration
	}{
		"completed":             {info(id, completed, 0, time.Hour), nil, "completed", id, 0},
		"undone":                {info(id, completed, 0, time.Hour), undone, "compensated", undo, 0},
		"being undone":          {info(id, terminated, 0, time.Hour), info(undo, running, 2*time.Hour, 0), "compensating", undo, 0},
		"undone, and again new": {info(id, running, 4*time.Hour, 0), undone, "running", id, 4 * time.Hour},
		"and ended again":       {info(id, terminated, 4*time.Hour, 5*time.Hour), undone, "terminated", id, 4 * time.Hour},
		"forgotten":             {nil, undone, "compensated", undo, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			r := joinRow((&server.Temporal{}), id, tc.own, tc.undo)
			require.Equal(t, []any{tc.state, tc.workflow, tc.workflow == undo, noon.Add(tc.started)}, []any{r.State, r.WorkflowID, r.UndoneLater, r.Started})
			require.Equal(t, []string{"orders", "pay", "1"}, []string{r.Group, r.Name, r.Key})
		})
	}
}

func TestJudgeSaga(t *testing.T) {
	act := map[string]Act{}
	for _, a := range Acts {
		act[a.Name] = a
	}
	status := func(state string) sagaflow.Status {
		return sagaflow.Status{State: state, Step: "pay", Reason: "no card"}
	}
	for name, tc := range map[string]struct {
		act, state string
		want       actions.Outcome
	}{
		"paused":             {"pause", "paused", actions.Outcome{Outcome: actions.Paused, Detail: "it is paused"}},
		"retried":            {"retry", "running", actions.Outcome{Outcome: actions.Retried, Detail: "it is running"}},
		"retried in part":    {"retry", "parked", actions.Outcome{Outcome: actions.Retried, Detail: "it is parked: step pay: no card"}},
		"skipped":            {"skip", "compensated", actions.Outcome{Outcome: actions.Skipped, Detail: "it is compensated"}},
		"undone":             {"compensate", "compensated", actions.Outcome{Outcome: actions.Compensated}},
		"being undone":       {"compensate", "compensating", actions.Outcome{Outcome: actions.Undoing, Detail: "step pay: no card", Pending: true}},
		"nobody undoes":      {"compensate", "no-worker", actions.Outcome{Outcome: actions.Undoing, Detail: "step pay: no card", Pending: true}},
		"not undone":         {"compensate", "compensation-failed", actions.Outcome{Outcome: actions.Stuck, Detail: "step pay: no card"}},
		"completed meantime": {"compensate", "completed", actions.Outcome{Outcome: actions.Refused, Detail: "it has completed meanwhile: repeat the command to undo it nevertheless"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.State = tc.state
			require.Equal(t, tc.want, judgeSaga(act[tc.act], status(tc.state)))
		})
	}
	require.True(t, actions.Outcome{Outcome: actions.Stuck}.Bad(false, false))
	for _, v := range []actions.Verdict{actions.Paused, actions.Resumed, actions.Retried, actions.Skipped, actions.Answered} {
		require.False(t, actions.Outcome{Outcome: v}.Bad(true, true))
		require.Contains(t, actions.Verdicts, v)
	}
}

// TestNothingIsSentWhereNobodyRuns: an Update that no process takes would only be
// waited for.
func TestNothingIsSentWhereNobodyRuns(t *testing.T) {
	for _, act := range Acts {
		b := &Batch{Act: act, nobody: map[string]bool{"hf.orders": true}}
		for _, r := range []Row{{State: "parked", status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING}, {State: "terminated", status: enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED}} {
			r.Group, r.taskQueue = "orders", "hf.orders"
			o := b.one(t.Context(), r)
			require.Equal(t, []any{actions.Unsent, "no worker of group orders runs"}, []any{o.Outcome, o.Detail})
			require.Contains(t, o.Remedy, "start a process of the group")
		}
	}
}

func TestPickDefinition(t *testing.T) {
	all := []broker.SagaDefinition{{Group: "a", Name: "pay", Version: 2}, {Group: "a", Name: "pay", Version: 10, Plan: json.RawMessage(`{}`)},
		{Group: "a", Name: "pay", Version: 10}, {Group: "b", Name: "pay", Version: 3}, {Group: "b", Name: "ship", Version: 1}}
	pick := func(name, group string, version int) (broker.SagaDefinition, error) {
		return PickDefinition(all, name, group, version)
	}
	d, err := pick("pay", "a", 0)
	require.NoError(t, err)
	require.Equal(t, all[1], d, "the highest, and with its plan")
	d, err = pick("pay", "", 3)
	require.NoError(t, err)
	require.Equal(t, "b", d.Group)
	_, err = pick("pay", "", 0)
	require.ErrorContains(t, err, "saga pay is in 2 groups: a, b; say which with --group")
	_, err = pick("pay", "b", 2)
	require.ErrorContains(t, err, "no running process has version 2 of saga pay: there is version 3 in group b")
	require.ErrorIs(t, err, holdfast.ErrNotFound)
	_, err = pick("nope", "", 0)
	require.ErrorContains(t, err, "no running process has a saga nope")
	require.ErrorIs(t, err, holdfast.ErrNotFound)
}

func TestStartSentence(t *testing.T) {
	require.Equal(t, "Saga saga/g/n/k is running", Started{ID: "saga/g/n/k", State: "running"}.Sentence())
	require.Equal(t, "Saga s is parked, step pay: no card", Started{ID: "s", State: "parked", Step: "pay", Reason: "no card"}.Sentence())
	require.Equal(t, "Saga s is compensated, step pay was refused: no", Started{ID: "s", State: "compensated", Step: "pay", Reason: "step pay was refused: no"}.Sentence())
	require.Equal(t, "Saga s is compensated, ann: oops", Started{ID: "s", State: "compensated", Reason: "ann: oops"}.Sentence())
}

func TestDataText(t *testing.T) {
	require.Equal(t, "{\n  \"a\": 1\n}", dataText(json.RawMessage(`{"a":1}`)))
	require.Equal(t, "{", dataText(json.RawMessage(`{`)))
	s := sagaflow.Status{Core: core.State{Data: json.RawMessage(`{"card":4}`), Past: []core.Change{{Patch: json.RawMessage(`{"card":3}`)}}, Steps: map[string]*core.StepState{"s": {Sub: json.RawMessage(`{"card":4}`), Tries: 2}}}}
	plain, err := json.Marshal(withoutData(s))
	require.NoError(t, err)
	require.NotContains(t, string(plain), "card")
	require.Contains(t, string(plain), `"tries":2`)
	require.NotNil(t, s.Core.Steps["s"].Sub, "a copy")
}

func TestSagaRowsAreATable(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, PrintRows(&out, nil, noon))
	require.Equal(t, "No sagas.\n", out.String())
	out.Reset()
	require.NoError(t, PrintRows(&out, []Row{{ID: "saga/g/n/k", State: "compensating", UndoneLater: true, Started: noon, Step: "pay", Reason: "a\nb"}}, noon.Add(time.Minute)))
	require.Equal(t, "SAGA        STATE                        STEP  STARTED              AGE    REASON\n"+
		"saga/g/n/k  compensating (undone later)  pay   2026-01-02 12:00:00  1m00s  a b\n", out.String())
}
