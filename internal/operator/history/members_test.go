package history

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/converter"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/golden"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

func one(id string) activities.Tx {
	return activities.Tx{ID: id, Messages: []holdfast.Message{{ID: id, Topic: "order.placed", Key: "k" + id}}}
}

func (s *script) leaves(in txflow.Input) {
	id := "tx/orders/" + in.Transactions[0].ID
	started := s.add(enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED, "transaction: order.placed", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_StartChildWorkflowExecutionInitiatedEventAttributes{StartChildWorkflowExecutionInitiatedEventAttributes: &historypb.StartChildWorkflowExecutionInitiatedEventAttributes{
			WorkflowId: id, Input: s.payloads(in)}}})
	s.add(enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED, "", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_ChildWorkflowExecutionStartedEventAttributes{ChildWorkflowExecutionStartedEventAttributes: &historypb.ChildWorkflowExecutionStartedEventAttributes{
			InitiatedEventId: started, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id}}}})
}

// cohortStory is a cohort of five: two commit, one rolls back, one leaves, and
// one is left undecided when it is terminated.
func cohortStory(t *testing.T) []*historypb.HistoryEvent {
	s := &script{t: t}
	s.started(txflow.Input{Group: "orders", Cohort: true, Transactions: []activities.Tx{one("1"), one("2"), one("3"), one("4"), one("5")}})
	s.localActivity(activities.HalfSend, "half messages", []activities.StepResult{{ID: "1"}, {ID: "2"}, {ID: "3"}, {ID: "4"}, {ID: "5"}}, nil)
	s.localActivity(activities.LocalTransaction, "local transactions", []activities.LocalResult{{ID: "1", Resolution: holdfast.Commit},
		{ID: "2", Resolution: holdfast.Commit, Messages: []holdfast.Message{{ID: "2", Topic: "order.placed", Key: "new"}}},
		{ID: "3", Resolution: holdfast.Rollback, Error: "sold out"}, {ID: "4"}, {ID: "5"}}, nil)
	s.localActivity(activities.Commit, "deliver", []activities.StepResult{{ID: "1"}, {ID: "2"}}, nil)
	s.localActivity(activities.Rollback, "forget", []activities.StepResult{{ID: "3"}}, nil)
	s.leaves(txflow.Input{Group: "orders", Transactions: []activities.Tx{one("4")},
		Carried: []txflow.Carried{{MemberStatus: txflow.MemberStatus{ID: "4", Reason: "it is slow"}}}})
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, "", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_WorkflowExecutionTerminatedEventAttributes{WorkflowExecutionTerminatedEventAttributes: &historypb.WorkflowExecutionTerminatedEventAttributes{Reason: "an accident"}}})
	return s.events
}

func TestAHistoryTellsHowEachEnded(t *testing.T) {
	told := Read(cohortStory(t), converter.GetDefaultDataConverter(), "")
	states := map[string]workflows.State{}
	for _, m := range told.Stands("terminated") {
		states[m.ID] = m.State
	}
	require.Equal(t, map[string]workflows.State{"1": workflows.Committed, "2": workflows.Committed, "3": workflows.RolledBack,
		"4": workflows.Left, "5": "terminated"}, states)
	require.Equal(t, []string{"new"}, told.Stands("")[1].Keys, "as its local transaction changed it")
}

func TestAMembersOwnSteps(t *testing.T) {
	for only, name := range map[string]string{"": "steps-cohort.txt", "3": "steps-member.txt", "4": "steps-left.txt"} {
		told := Read(cohortStory(t), converter.GetDefaultDataConverter(), only)
		var out bytes.Buffer
		require.NoError(t, PrintSteps(&out, "Steps", told.Steps, false, began))
		golden.Equal(t, name, out.String())
		require.Len(t, told.Order, 5)
	}
}

func TestSeveralAnswersAsOne(t *testing.T) {
	for want, each := range map[string][]string{
		"ok":                        {"", "", "", ""},
		"commit":                    {"commit"},
		"failed: x":                 {"", "failed: x"},
		"commit; rollback":          {"commit", "rollback"},
		"3 × commit; 1 × failed: x": {"commit", "failed: x", "commit", "commit"},
		"3 × ok; 1 × failed: x":     {"", "failed: x", "", ""},
		"2 × a; 1 × b; 1 × c; and 2 more answers": {"b", "a", "c", "d", "a", "e"},
	} {
		require.Equal(t, want, summed(each))
	}
	require.Equal(t, "ok", summed(nil))
}
