// Package history reads a workflow's history as steps that people can follow: of one
// transaction, of the members of a shared workflow, of a saga. It is pure. The rooms of
// transactions, dead letters and sagas use it for what they show.
package history

import (
	"fmt"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/converter"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// Step is one line of a workflow's history, as people read it.
type Step struct {
	At time.Time `json:"at"`
	// Kind is workflow, local-activity, activity, timer, update, signal, child or
	// workflow-task.
	Kind string `json:"kind"`
	// Name is the activity's, the Update's or the signal's.
	Name string `json:"name,omitempty"`
	// Summary says what it is for.
	Summary string `json:"summary,omitempty"`
	// Result says how it ended; empty while it has not.
	Result string `json:"result,omitempty"`
}

// Story is what a history tells.
type Story struct {
	Steps []Step
	// messages are the transactions' messages by transaction, as they are to be
	// delivered.
	Messages map[string][]holdfast.Message
	Order    []string // the transactions, as the input lists them
	// ends are how transactions ended, by transaction; ended are those that an
	// earlier run brought to their end.
	ends  map[string]workflows.State
	ended []txflow.MemberStatus
}

// reader reads a history event by event.
type reader struct {
	Story
	data    converter.DataConverter
	pending map[int64]int    // the step that an event began, by event ID
	of      map[int64]string // the transaction that an activity is for, by event ID
	only    string           // the transaction whose steps are told; empty means all
}

// Read turns a history into a story: of the transaction only, or of all if
// that is empty. What it cannot decode, it leaves out.
func Read(events []*historypb.HistoryEvent, data converter.DataConverter, only string) Story {
	r := &reader{Story: Story{Messages: map[string][]holdfast.Message{}, ends: map[string]workflows.State{}}, data: data,
		pending: map[int64]int{}, of: map[int64]string{}, only: only}
	for _, e := range events {
		r.event(e)
	}
	return r.Story
}

// begin adds a step that later events of its ID complete.
func (r *reader) begin(e *historypb.HistoryEvent, kind, name, summary string) {
	if s := r.summary(e); s != "" {
		summary = s
	}
	r.pending[e.GetEventId()] = len(r.Steps)
	r.Steps = append(r.Steps, Step{At: e.GetEventTime().AsTime(), Kind: kind, Name: name, Summary: summary})
}

// add adds a step that is complete.
func (r *reader) add(e *historypb.HistoryEvent, kind, name, summary, result string) {
	r.begin(e, kind, name, summary)
	r.Steps[len(r.Steps)-1].Result = result
}

// end completes the step that the event id began.
func (r *reader) end(id int64, result string) {
	if i, ok := r.pending[id]; ok {
		r.Steps[i].Result = result
	}
}

func (r *reader) summary(e *historypb.HistoryEvent) string {
	var s string
	if p := e.GetUserMetadata().GetSummary(); p != nil {
		_ = r.data.FromPayload(p, &s)
	}
	return s
}

// decode reads the first payload into v, and reports whether it could.
func (r *reader) decode(p *commonpb.Payloads, v any) bool {
	return len(p.GetPayloads()) > 0 && r.data.FromPayload(p.GetPayloads()[0], v) == nil
}

func (r *reader) event(e *historypb.HistoryEvent) {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_MARKER_RECORDED:
		r.localActivity(e)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED, enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
		enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		r.activity(e)
	case enumspb.EVENT_TYPE_TIMER_STARTED:
		r.begin(e, "timer", text.Age(e.GetTimerStartedEventAttributes().GetStartToFireTimeout().AsDuration()), "")
	case enumspb.EVENT_TYPE_TIMER_FIRED:
		r.end(e.GetTimerFiredEventAttributes().GetStartedEventId(), "fired")
	case enumspb.EVENT_TYPE_TIMER_CANCELED:
		r.end(e.GetTimerCanceledEventAttributes().GetStartedEventId(), "not needed any more")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		a := e.GetWorkflowExecutionSignaledEventAttributes()
		if !r.told(r.askedOf(a.GetInput())) {
			return
		}
		r.add(e, "signal", a.GetSignalName(), r.signalled(a.GetSignalName(), a.GetInput()), "")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
		in := e.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetInput()
		if !r.told(r.askedOf(in.GetArgs())) {
			return
		}
		r.begin(e, "update", in.GetName(), r.updateAsked(in.GetName(), in.GetArgs()))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
		a := e.GetWorkflowExecutionUpdateCompletedEventAttributes()
		r.end(a.GetAcceptedEventId(), r.updateResult(a.GetOutcome().GetSuccess(), a.GetOutcome().GetFailure()))
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
		enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		r.child(e)
	default:
		r.workflow(e)
	}
}

// workflow reads the events of the workflow itself.
func (r *reader) workflow(e *historypb.HistoryEvent) {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		var in txflow.Input
		if r.decode(e.GetWorkflowExecutionStartedEventAttributes().GetInput(), &in) {
			r.input(in)
		}
		r.add(e, "workflow", "started", "", r.why(in))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		r.add(e, "workflow", "completed", "", "")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		r.add(e, "workflow", "continued", "in a new run, since its history was long", "")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		r.add(e, "workflow", "failed", "", failureText(e.GetWorkflowExecutionFailedEventAttributes().GetFailure()))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		r.add(e, "workflow", "timed out", "", "")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		r.add(e, "workflow", "canceled", "", "")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		a := e.GetWorkflowExecutionCancelRequestedEventAttributes()
		r.add(e, "workflow", "asked to cancel", a.GetCause(), "by "+text.OrDash(a.GetIdentity()))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		a := e.GetWorkflowExecutionTerminatedEventAttributes()
		r.add(e, "workflow", "terminated", a.GetReason(), "by "+text.OrDash(a.GetIdentity()))
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		a := e.GetWorkflowTaskFailedEventAttributes()
		if a.GetCause() != enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND { // something arrived meanwhile: usual
			r.add(e, "workflow-task", "failed", a.GetCause().String(), failureText(a.GetFailure()))
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
		r.add(e, "workflow-task", "timed out", "the process that had it did not answer", "given to another one")
	}
}

func (r *reader) input(in txflow.Input) {
	r.ended = in.Ended
	for _, tx := range in.Transactions {
		r.Order = append(r.Order, tx.ID)
		r.Messages[tx.ID] = tx.Messages
	}
}

func (r *reader) why(in txflow.Input) string {
	for i, tx := range in.Transactions {
		switch {
		case !r.told(tx.ID):
		case tx.Why != "":
			return tx.Why
		case i < len(in.Carried) && in.Carried[i].Reason != "":
			return in.Carried[i].Reason
		case i < len(in.Carried) && in.Carried[i].State == workflows.Running:
			return "its local transaction was still running"
		}
	}
	return ""
}

// localActivity reads the marker of a local activity. Its event is as late as
// the end of the workflow task; the marker itself knows better.
func (r *reader) localActivity(e *historypb.HistoryEvent) {
	a := e.GetMarkerRecordedEventAttributes()
	if a.GetMarkerName() != "LocalActivity" {
		return
	}
	var marker struct {
		ActivityType string
		ReplayTime   time.Time
	}
	r.decode(a.GetDetails()["data"], &marker)
	result := failureText(a.GetFailure())
	if a.GetFailure() == nil {
		var meant bool
		if result, meant = r.stepResult(marker.ActivityType, a.GetDetails()["result"]); !meant {
			return
		}
	}
	r.add(e, "local-activity", marker.ActivityType, "", result)
	if !marker.ReplayTime.IsZero() {
		r.Steps[len(r.Steps)-1].At = marker.ReplayTime
	}
}

// localResult reads the answer about one local transaction, with the messages
// that it changed.
func (r *reader) localResult(l activities.LocalResult) string {
	if len(l.Messages) > 0 {
		r.Messages[l.ID] = l.Messages
	}
	s := l.Resolution.String()
	switch {
	case l.Elsewhere:
		s = "not in this process"
	case l.Running:
		s = "still running"
	}
	if l.Error != "" {
		s += ": " + l.Error
	}
	return s
}

func (r *reader) activity(e *historypb.HistoryEvent) {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		a := e.GetActivityTaskScheduledEventAttributes()
		of, told := r.activityOf(a.GetInput())
		if r.of[e.GetEventId()] = of; told {
			r.begin(e, "activity", a.GetActivityType().GetName(), "")
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		a := e.GetActivityTaskStartedEventAttributes()
		if i, ok := r.pending[a.GetScheduledEventId()]; ok && a.GetAttempt() > 1 {
			r.Steps[i].Summary += fmt.Sprintf(" (attempt %d; before: %s)", a.GetAttempt(), failureText(a.GetLastFailure()))
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		a := e.GetActivityTaskCompletedEventAttributes()
		r.completed(a.GetScheduledEventId(), a.GetResult())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		a := e.GetActivityTaskFailedEventAttributes()
		r.end(a.GetScheduledEventId(), "failed: "+failureText(a.GetFailure()))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		a := e.GetActivityTaskTimedOutEventAttributes()
		r.end(a.GetScheduledEventId(), "timed out: "+failureText(a.GetFailure()))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		r.end(e.GetActivityTaskCanceledEventAttributes().GetScheduledEventId(), "canceled")
	}
}

// asked reads what an operator asks for.
func (r *reader) asked(args *commonpb.Payloads) string {
	var req txflow.Request
	if !r.decode(args, &req) {
		return ""
	}
	s := req.Operator + ": " + req.Reason
	if req.Force {
		s += " (forced)"
	}
	var of sagaflow.Request
	if r.decode(args, &of); of.Step != "" {
		s = of.Step + ", " + s
	}
	return s
}

// signalled reads a signal: an operator's, or a consumer's answer to a
// redelivery.
func (r *reader) signalled(name string, args *commonpb.Payloads) string {
	switch name {
	case sagaflow.SignalReply:
		return r.sagaReply(args)
	case deadflow.SignalHandled:
		var n int
		r.decode(args, &n)
		return fmt.Sprintf("redelivery %d was handled", n)
	case deadflow.SignalDied:
		var f holdfast.Failure
		r.decode(args, &f)
		if f.Redelivery == 0 {
			return "a copy: " + f.Reason
		}
		return fmt.Sprintf("redelivery %d failed: %s", f.Redelivery, f.Reason)
	}
	return r.asked(args)
}

func (r *reader) updateAsked(name string, args *commonpb.Payloads) string {
	switch name {
	case txflow.UpdateStored:
		return "the application waits until the half message is stored"
	case txflow.UpdateConfirm:
		var c txflow.Confirmation
		r.decode(args, &c)
		if len(c.Messages) > 0 {
			r.Messages[c.Tx] = c.Messages
		}
		return "the application's second confirmation: " + c.Resolution.String()
	}
	return r.asked(args)
}

func (r *reader) updateResult(success *commonpb.Payloads, failure *failurepb.Failure) string {
	if failure != nil {
		return "refused: " + failureText(failure)
	}
	var m txflow.MemberStatus
	if r.decode(success, &m) {
		return string(m.State)
	}
	return "ok"
}

// failureText is a failure with its innermost cause.
func failureText(f *failurepb.Failure) string {
	if f == nil {
		return ""
	}
	s := strings.ReplaceAll(f.GetMessage(), "holdfast: ", "")
	if cause := failureText(f.GetCause()); cause != "" && cause != s {
		s += ": " + cause
	}
	return s
}
