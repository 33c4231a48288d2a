package history

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/golden"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

var began = time.Date(2026, 3, 4, 23, 59, 58, 0, time.UTC)

// script writes a history, one second per event.
type script struct {
	t      *testing.T
	events []*historypb.HistoryEvent
}

func (s *script) payloads(v ...any) *commonpb.Payloads {
	p, err := converter.GetDefaultDataConverter().ToPayloads(v...)
	require.NoError(s.t, err)
	return p
}

// add appends e, of this kind and with this summary, and returns its ID.
func (s *script) add(kind enumspb.EventType, summary string, e *historypb.HistoryEvent) int64 {
	e.EventId, e.EventType = int64(len(s.events)+1), kind
	e.EventTime = timestamppb.New(began.Add(time.Duration(len(s.events)) * time.Second))
	if summary != "" {
		e.UserMetadata = &sdkpb.UserMetadata{Summary: s.payloads(summary).Payloads[0]}
	}
	s.events = append(s.events, e)
	return e.EventId
}

func (s *script) started(in txflow.Input) {
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, "transaction: order.placed A-1", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{
			Input: s.payloads(in)}}})
}

func (s *script) localActivity(name, summary string, result any, failure *failurepb.Failure) {
	details := map[string]*commonpb.Payloads{"data": s.payloads(map[string]any{"ActivityType": name, "ReplayTime": began.Add(time.Duration(len(s.events)) * 10 * time.Millisecond)})}
	if result != nil {
		details["result"] = s.payloads(result)
	}
	s.add(enumspb.EVENT_TYPE_MARKER_RECORDED, summary, &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_MarkerRecordedEventAttributes{MarkerRecordedEventAttributes: &historypb.MarkerRecordedEventAttributes{
			MarkerName: "LocalActivity", Details: details, Failure: failure}}})
}

func (s *script) activity(name, summary string, attempt int32, result any) {
	id := s.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, summary, &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
			ActivityType: &commonpb.ActivityType{Name: name}}}})
	var last *failurepb.Failure
	if attempt > 1 {
		last = &failurepb.Failure{Message: "connection refused"}
	}
	s.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, "", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{
			ScheduledEventId: id, Attempt: attempt, LastFailure: last}}})
	if f, failed := result.(*failurepb.Failure); failed {
		s.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED, "", &historypb.HistoryEvent{
			Attributes: &historypb.HistoryEvent_ActivityTaskFailedEventAttributes{ActivityTaskFailedEventAttributes: &historypb.ActivityTaskFailedEventAttributes{
				ScheduledEventId: id, Failure: f}}})
		return
	}
	var payloads *commonpb.Payloads
	if result != nil {
		payloads = s.payloads(result)
	}
	s.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, "", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{
			ScheduledEventId: id, Result: payloads}}})
}

func (s *script) timer(d time.Duration, summary string, fired bool) {
	id := s.add(enumspb.EVENT_TYPE_TIMER_STARTED, summary, &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_TimerStartedEventAttributes{TimerStartedEventAttributes: &historypb.TimerStartedEventAttributes{
			TimerId: "1", StartToFireTimeout: durationpb.New(d)}}})
	if fired {
		s.add(enumspb.EVENT_TYPE_TIMER_FIRED, "", &historypb.HistoryEvent{
			Attributes: &historypb.HistoryEvent_TimerFiredEventAttributes{TimerFiredEventAttributes: &historypb.TimerFiredEventAttributes{StartedEventId: id}}})
		return
	}
	s.add(enumspb.EVENT_TYPE_TIMER_CANCELED, "", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_TimerCanceledEventAttributes{TimerCanceledEventAttributes: &historypb.TimerCanceledEventAttributes{StartedEventId: id}}})
}

func (s *script) update(name string, arg any, outcome *updatepb.Outcome) {
	id := s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, "", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_WorkflowExecutionUpdateAcceptedEventAttributes{WorkflowExecutionUpdateAcceptedEventAttributes: &historypb.WorkflowExecutionUpdateAcceptedEventAttributes{
			AcceptedRequest: &updatepb.Request{Input: &updatepb.Input{Name: name, Args: s.payloads(arg)}}}}})
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED, "", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_WorkflowExecutionUpdateCompletedEventAttributes{WorkflowExecutionUpdateCompletedEventAttributes: &historypb.WorkflowExecutionUpdateCompletedEventAttributes{
			AcceptedEventId: id, Outcome: outcome}}})
}

func (s *script) success(v any) *updatepb.Outcome {
	return &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: s.payloads(v)}}
}

// parkedStory is a transaction that parks, is refused once, and is committed by
// an operator.
func parkedStory(t *testing.T) []*historypb.HistoryEvent {
	s := &script{t: t}
	s.started(txflow.Input{Group: "orders", Transactions: []activities.Tx{{ID: "1", Form: activities.Split,
		Messages: []holdfast.Message{{ID: "1", Topic: "order.placed", Key: "A-1", Body: []byte("{}")}}}}})
	s.localActivity(activities.HalfSend, "half message for order.placed A-1 → half queue of orders", []activities.StepResult{{ID: "1"}}, nil)
	s.timer(10*time.Second, "until the first check-back", true)
	s.activity(activities.CheckBack, "check-back 1", 2, activities.LocalResult{ID: "1", Error: "nobody knows"})
	s.timer(30*time.Second, "until check-back 2", false)
	s.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT, "", &historypb.HistoryEvent{})
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, "", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{
			SignalName: txflow.UpdateRecheck, Input: s.payloads(txflow.Request{Operator: "batch", Reason: "look\nagain"})}}})
	s.update(txflow.UpdateRollback, txflow.Request{Operator: "bob", Reason: "clean-up"},
		&updatepb.Outcome{Value: &updatepb.Outcome_Failure{Failure: &failurepb.Failure{Message: "holdfast: already resolved: the database says commit"}}})
	s.activity(activities.Decide, "commit 1: the bank says so (ann)", 1, activities.LocalResult{ID: "1", Resolution: holdfast.Commit,
		Messages: []holdfast.Message{{ID: "1", Topic: "order.placed", Key: "A-1", Body: []byte(`{"changed":true}`)}}})
	s.activity(activities.CommitUntilConfirmed, "deliver order.placed A-1", 1, &failurepb.Failure{Message: "activity error", Cause: &failurepb.Failure{Message: "no consumer is bound"}})
	s.localActivity(activities.Commit, "deliver order.placed A-1", []activities.StepResult{{ID: "1"}}, nil)
	s.update(txflow.UpdateCommit, txflow.Request{Operator: "ann", Reason: "the bank says so", Force: true},
		s.success(txflow.MemberStatus{ID: "1", State: workflows.Committed}))
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, "", &historypb.HistoryEvent{})
	return s.events
}

func TestHistoryAsSteps(t *testing.T) {
	told := Read(parkedStory(t), converter.GetDefaultDataConverter(), "")
	require.Equal(t, []string{"1"}, told.Order)
	require.Equal(t, `{"changed":true}`, string(told.Messages["1"][0].Body), "what is delivered, not what was sent first")
	var out bytes.Buffer
	require.NoError(t, PrintSteps(&out, "Steps", told.Steps, false, began.Add(time.Hour)))
	golden.Equal(t, "steps.txt", out.String())
}

func TestHistoryOfACohort(t *testing.T) {
	s := &script{t: t}
	s.started(txflow.Input{Group: "orders", Transactions: []activities.Tx{
		{ID: "1", Messages: []holdfast.Message{{ID: "1", Topic: "a"}}}, {ID: "2", Messages: []holdfast.Message{{ID: "2", Topic: "b"}}}}})
	s.localActivity(activities.HalfSend, "", []activities.StepResult{{ID: "1"}, {ID: "2", Error: "no confirm"}}, nil)
	s.localActivity(activities.LocalTransaction, "", []activities.LocalResult{{ID: "1", Resolution: holdfast.Rollback, Error: "sold out"}}, nil)
	s.localActivity(activities.Rollback, "", nil, &failurepb.Failure{Message: "gone"})
	told := Read(s.events, converter.GetDefaultDataConverter(), "")
	var results []string
	for _, st := range told.Steps {
		results = append(results, st.Result)
	}
	require.Equal(t, []string{"", "failed: no confirm", "rollback: sold out", "gone"}, results)
}

func TestUnreadableHistoryIsNoPanic(t *testing.T) {
	var events []*historypb.HistoryEvent
	for kind := range enumspb.EventType_name {
		events = append(events, &historypb.HistoryEvent{EventType: enumspb.EventType(kind)})
	}
	odd := &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("binary/encrypted")}, Data: []byte{1, 2}}}}
	s := &script{t: t}
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, "", &historypb.HistoryEvent{
		Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Input: odd}}})
	told := Read(append(events, s.events...), converter.GetDefaultDataConverter(), "")
	require.NotEmpty(t, told.Steps)
	require.Empty(t, told.Messages)
}
