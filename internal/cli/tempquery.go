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

// quote makes s a string in a visibility query.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
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

// startTerms are the terms of a visibility query for a window.
func startTerms(before, after time.Time) (terms []string) {
	if !before.IsZero() {
		terms = append(terms, "StartTime < "+quote(before.UTC().Format(time.RFC3339Nano)))
	}
	if !after.IsZero() {
		terms = append(terms, "StartTime >= "+quote(after.UTC().Format(time.RFC3339Nano)))
	}
	return terms
}

var lostStates = []string{"failed", "terminated", "canceled", "timed-out"}

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

// stateAll means dead letters in whatever state.
const stateAll = "all"
