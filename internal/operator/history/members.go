package history

import (
	"fmt"
	"slices"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// told reports whether what is about the transaction tx is told. What is about
// none belongs to all.
func (r *reader) told(tx string) bool { return r.only == "" || tx == "" || tx == r.only }

// answers are what the steps on one transaction or several answer: a
// [activities.StepResult] or a [activities.LocalResult].
type answers []struct {
	activities.LocalResult
	Hopeless bool `json:"hopeless,omitempty"`
}

// stepResult is how a step ended, and whether that is told.
func (r *reader) stepResult(name string, result *commonpb.Payloads) (said string, told bool) {
	if r.isSagaStep(name, result) {
		return r.sagaResult(result), true
	}
	var all answers
	if !r.decode(result, &all) {
		return "ok", true
	}
	return r.answered(name, all)
}

// answered takes in what a step answers about its transactions.
func (r *reader) answered(name string, all answers) (said string, told bool) {
	var each []string
	for _, a := range all {
		s := ""
		switch {
		case name != activities.HalfSend && name != activities.Commit && name != activities.Rollback:
			s = r.localResult(a.LocalResult)
		case a.Error != "":
			s = "failed: " + a.Error
		case name == activities.Commit:
			r.ends[a.ID] = workflows.Committed
		case name == activities.Rollback:
			r.ends[a.ID] = workflows.RolledBack
		}
		if r.told(a.ID) {
			told = true
			each = append(each, s)
		}
	}
	return summed(each), told || len(all) == 0
}

// fewAnswers is how many answers are told one by one.
const fewAnswers = 3

// summed is how several ended, as one text: what many of them have in common is
// said once.
func summed(each []string) string {
	count := map[string]int{}
	var different []string
	for _, s := range each {
		if count[s]++; count[s] == 1 {
			different = append(different, s)
		}
	}
	if len(different) == 1 && different[0] == "" {
		return "ok"
	}
	var said []string
	if len(each) <= fewAnswers {
		for _, s := range each {
			if s != "" {
				said = append(said, s)
			}
		}
		return orOK(said)
	}
	slices.SortStableFunc(different, func(x, y string) int { return count[y] - count[x] })
	for i, s := range different {
		if i == fewAnswers {
			return orOK(append(said, fmt.Sprintf("and %d more answers", len(different)-i)))
		}
		if s == "" {
			s = "ok"
		}
		said = append(said, fmt.Sprintf("%d × %s", count[different[i]], s))
	}
	return orOK(said)
}

func orOK(said []string) string {
	if len(said) == 0 {
		return "ok"
	}
	return strings.Join(said, "; ")
}

// activityOf is the transaction that a regular activity is for, if it is for one,
// and whether it is told.
func (r *reader) activityOf(input *commonpb.Payloads) (tx string, told bool) {
	var one activities.LocalInput
	var several activities.StepInput
	r.decode(input, &one)
	r.decode(input, &several)
	told = r.told(one.Transaction.ID)
	if len(several.Transactions) > 0 {
		told = slices.ContainsFunc(several.Transactions, func(tx activities.Tx) bool { return r.told(tx.ID) })
	}
	return one.Transaction.ID, told
}

// completed takes in how the regular activity that the event id began ended.
func (r *reader) completed(id int64, result *commonpb.Payloads) {
	name := ""
	if i, ok := r.pending[id]; ok {
		name = r.Steps[i].Name
	}
	var one activities.LocalResult
	var all answers
	said := "ok"
	switch {
	case r.isSagaStep(name, result):
		said = r.sagaResult(result)
	case name == activities.CommitUntilConfirmed:
		r.ends[r.of[id]] = workflows.Committed
	case r.decode(result, &one) && one.ID != "":
		said = r.localResult(one)
	case r.decode(result, &all):
		said, _ = r.answered(name, all)
	}
	r.end(id, said)
}

// askedOf is the transaction that an operator's request, or an application's
// confirmation, is about.
func (r *reader) askedOf(args *commonpb.Payloads) string {
	var req struct {
		Tx string `json:"tx"`
	}
	r.decode(args, &req)
	return req.Tx
}

// child reads how a transaction left into a workflow of its own. Other child
// workflows are no steps.
func (r *reader) child(e *historypb.HistoryEvent) {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
		a := e.GetStartChildWorkflowExecutionInitiatedEventAttributes()
		if tx := childOf(a.GetWorkflowId()); slices.Contains(r.Order, tx) && r.told(tx) {
			r.begin(e, "child", "workflow", "")
			r.Steps[len(r.Steps)-1].Summary = "goes on in " + a.GetWorkflowId() + because(r.leaves(a.GetInput()))
		}
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		a := e.GetChildWorkflowExecutionStartedEventAttributes()
		r.ends[childOf(a.GetWorkflowExecution().GetWorkflowId())] = workflows.Left
		r.end(a.GetInitiatedEventId(), "started")
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
		a := e.GetStartChildWorkflowExecutionFailedEventAttributes()
		said := "failed: " + a.GetCause().String()
		if a.GetCause() == enumspb.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS {
			r.ends[childOf(a.GetWorkflowId())] = workflows.Left
			said = "there already"
		}
		r.end(a.GetInitiatedEventId(), said)
	}
}

func childOf(workflowID string) string {
	_, tx := server.SplitWorkflowID(workflowID)
	return tx
}

// leaves says why the transaction in a child workflow's input left.
func (r *reader) leaves(input *commonpb.Payloads) string {
	var in txflow.Input
	if r.decode(input, &in) {
		return r.why(in)
	}
	return ""
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// Stands is where the members stand as far as a history tells: one that has not
// ended is in the workflow's own state.
func (s Story) Stands(state string) []txflow.MemberStatus {
	all := slices.Clone(s.ended)
	for _, id := range s.Order {
		m := txflow.MemberStatus{ID: id, State: s.ends[id], Topics: holdfast.Topics(s.Messages[id]),
			Keys: KeysOf(s.Messages[id])}
		switch m.State {
		case "":
			m.State = workflows.State(state)
		case workflows.Committed:
			m.Resolution = holdfast.Commit
		case workflows.RolledBack:
			m.Resolution = holdfast.Rollback
		}
		all = append(all, m)
	}
	return all
}

// KeysOf are the business keys of messages, one for each.
func KeysOf(ms []holdfast.Message) []string {
	var keys []string
	for _, m := range ms {
		keys = append(keys, m.Key)
	}
	return keys
}
