package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/holdfastmq/holdfast/workflows"
)

// stateRunning is the state of an open workflow that is on its happy path: it
// has no search attribute HoldfastState, and might be sending, running or
// waiting.
const stateRunning = "running"

// closedStates are the states that are the workflow's own: it ended without
// deciding.
var closedStates = map[string]enumspb.WorkflowExecutionStatus{
	"failed":     enumspb.WORKFLOW_EXECUTION_STATUS_FAILED,
	"terminated": enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED,
	"canceled":   enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED,
	"timed-out":  enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
}

// states are the states that transactions can be listed by.
var states = []string{stateRunning, string(workflows.Checking), string(workflows.Delivering), string(workflows.Parked),
	string(workflows.Committed), string(workflows.RolledBack), string(workflows.Refused), string(workflows.Left),
	"failed", "terminated", "canceled", "timed-out"}

// filter says which transactions are meant. Its zero value means all.
type filter struct {
	prefix            string
	group, topic, key string
	states            []string
	errorText         string
	before, since     time.Time // of their workflow's start; the zero time: whenever
	reasons           bool      // those in trouble are asked why
}

// validate says what is wrong with a filter.
func (f filter) validate() error {
	if err := oneOf("state", states, f.states...); err != nil {
		return err
	}
	return plain(f.group, f.topic, f.key)
}

// oneOf refuses what is none of the known words.
func oneOf(what string, known []string, words ...string) error {
	for _, s := range words {
		if !slices.Contains(known, s) {
			return fmt.Errorf("%s %q: want %s", what, s, strings.Join(known, ", "))
		}
	}
	return nil
}

// plain refuses in what is looked for what nothing can have: control characters, and
// what is not UTF-8.
func plain(texts ...string) error {
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return errors.New("what is looked for is not valid UTF-8")
		}
		if strings.IndexFunc(s, unicode.IsControl) >= 0 {
			return errors.New("control characters are not allowed in what is looked for")
		}
	}
	return nil
}

// query is the filter as a query for Temporal's visibility store. What it finds
// may be more than what is meant: matches and keeps decide.
func (f filter) query() string {
	terms := []string{kindTerm, groupTerm(f.prefix, f.group)}
	if term := f.stateTerms(); term != "" {
		terms = append(terms, term)
	}
	if askable(f.topic) { // a shared workflow has its further topics among the keys
		terms = append(terms, fmt.Sprintf("(%s = %s OR %s = %s)", workflows.AttributeTopic, quote(f.topic), workflows.AttributeKey, quote(f.topic)))
	}
	if askable(f.key) {
		terms = append(terms, workflows.AttributeKey+" = "+quote(f.key))
	}
	terms = append(terms, startTerms(f.before, f.since)...)
	return strings.Join(terms, " AND ")
}

// kindTerm means every workflow that coordinates transactions.
var kindTerm = fmt.Sprintf("WorkflowType IN (%s, %s)", quote(workflows.Name), quote(workflows.RecoveryName))

// queueTerm means the workflows of a group; of none: of every group of the prefix.
// Their task queue says so, whatever IDs they have.
func queueTerm(prefix, group string) string {
	if askable(group) {
		return "TaskQueue = " + quote(workflows.TaskQueue(prefix, group))
	}
	return "TaskQueue STARTS_WITH " + quote(workflows.TaskQueue(prefix, ""))
}

// groupTerm means the workflows of a group's task queue, or of one of its processes'.
func groupTerm(prefix, group string) string {
	if !askable(group) {
		return queueTerm(prefix, group)
	}
	return fmt.Sprintf("(%s OR TaskQueue STARTS_WITH %s)", queueTerm(prefix, group), quote(workflows.InstanceQueue(prefix, group, "")))
}

// beginsWith means the workflows whose ID begins with one of these.
func beginsWith(prefixes ...string) string {
	terms := make([]string, len(prefixes))
	for i, p := range prefixes {
		terms[i] = "WorkflowId STARTS_WITH " + quote(p)
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// stateTerms means the workflows that may hold transactions in one of the states;
// empty: in whatever state.
func (f filter) stateTerms() string {
	var terms []string
	for _, s := range f.states {
		terms = append(terms, stateTerm(f.prefix, s))
	}
	if len(terms) < 2 {
		return strings.Join(terms, "")
	}
	return "((" + strings.Join(terms, ") OR (") + "))"
}

func stateTerm(prefix, state string) string {
	switch s := workflows.State(state); {
	case state == stateRunning:
		return `ExecutionStatus = "Running" AND ` + workflows.AttributeState + " IS NULL"
	case s.Final():
		// A happy path sets no state, and a shared workflow that of its last member.
		return fmt.Sprintf(`ExecutionStatus = "Completed" AND (%s IS NULL OR %s = %s OR %s)`,
			workflows.AttributeState, workflows.AttributeState, quote(state), beginsWith(sharedBegins(prefix)...))
	case closedStates[state] != 0:
		return "ExecutionStatus = " + quote(closedStates[state].String())
	}
	return `ExecutionStatus = "Running" AND ` + workflows.AttributeState + " = " + quote(state)
}

// askable reports whether the visibility store can be asked for a value. On SQL,
// Temporal garbles quotation marks and backslashes, whatever their escapes; such
// values are looked for among all transactions instead.
func askable(value string) bool { return value != "" && !strings.ContainsAny(value, `"\`) }

// hardToAsk adds to an error what took the time: a key that the visibility store cannot
// be asked for is compared with that of every workflow.
func hardToAsk(key string, err error) error {
	if err == nil || askable(key) || !timedOut(err) {
		return err
	}
	return withRemedy(fmt.Errorf("a key with a quotation mark or a backslash is compared with all there are, and the command's time was over before: %w", err),
		"raise --timeout, or give the workflow's ID, or the transaction's or message's with its --group or --consumer")
}

// matches reports whether a workflow can have what is meant, by its search
// attributes. The visibility store is asked for them too, but may ignore case. A
// shared workflow has its members' IDs and further topics among the keys.
func (f filter) matches(known row) bool {
	if known.taskQueue != "" && !workflows.IsOurs(f.prefix, known.WorkflowID, known.taskQueue) {
		return false
	}
	if f.group != "" && known.Group != f.group {
		return false
	}
	topic := f.topic == "" || slices.Contains(known.Topics, f.topic) || shared(known.WorkflowID) && slices.Contains(known.Keys, f.topic)
	return topic && (f.key == "" || slices.Contains(known.Keys, f.key))
}

// means reports whether a member of a shared workflow is meant.
func (f filter) means(r row) bool {
	return (f.topic == "" || slices.Contains(r.Topics, f.topic)) && (f.key == "" || r.Tx == f.key || slices.Contains(r.Keys, f.key))
}

// keeps returns those of a workflow's transactions that are meant. known is what
// the search attributes say of all of them. One that left is listed where it goes
// on, unless those that left are asked for.
func (f filter) keeps(known row, of []row) []row {
	var kept []row
	if !f.matches(known) {
		return nil
	}
	for _, r := range of {
		left := r.State == string(workflows.Left)
		if (!shared(known.WorkflowID) && len(of) == 1 || f.means(r)) && (len(f.states) == 0 && !left || slices.Contains(f.states, r.State)) {
			kept = append(kept, r)
		}
	}
	return kept
}

// quote makes s a string in a visibility query.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// sharedBegins is what the IDs of workflows begin with that transactions share.
func sharedBegins(prefix string) []string {
	return append(workflows.KindCohort.Begins(prefix), workflows.KindRecovery.Begins(prefix)...)
}

// shared reports whether a workflow is one that transactions share.
func shared(workflowID string) bool {
	id, ok := workflows.ParseID(workflowID)
	return ok && id.Shared()
}

// splitWorkflowID returns the group of a workflow, and its transaction's ID if
// it is the workflow of a single one.
func splitWorkflowID(workflowID string) (group, tx string) {
	id, ok := workflows.ParseID(workflowID)
	switch {
	case !ok:
		return "", ""
	case id.Kind == workflows.KindTransaction:
		return id.Owner, id.Key
	}
	return id.Owner, ""
}

// ownID is the ID of a transaction's own workflow; workflowID is any that it was in.
func ownID(workflowID, tx string) string {
	id, _ := workflows.ParseID(workflowID)
	return workflows.WorkflowID(id.Prefix, id.Owner, tx)
}

// names are the IDs that an ID as it was given may mean, the likeliest first: it may
// have been given without its prefix, or be from before that was part of it. None: it
// is another installation's.
func (t *temporalServer) names(id workflows.ID) []string {
	switch {
	case id.Prefix == t.prefix || t.prefix == workflows.DefaultPrefix && id.Prefix == "":
		return []string{id.String()}
	case id.Prefix != "":
		return nil
	}
	given := id.String()
	id.Prefix = t.prefix
	return []string{given, id.String()}
}

// isOurs reports whether a workflow that was described is this installation's.
func (t *temporalServer) isOurs(info *workflowpb.WorkflowExecutionInfo) bool {
	return workflows.IsOurs(t.prefix, info.GetExecution().GetWorkflowId(), info.GetTaskQueue())
}
