package server

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

	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

// StateRunning is the state of an open workflow that is on its happy path: it
// has no search attribute HoldfastState, and might be sending, running or
// waiting.
const StateRunning = "running"

// ClosedStates are the states that are the workflow's own: it ended without
// deciding.
var ClosedStates = map[string]enumspb.WorkflowExecutionStatus{
	"failed":     enumspb.WORKFLOW_EXECUTION_STATUS_FAILED,
	"terminated": enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED,
	"canceled":   enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED,
	"timed-out":  enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
}

// OneOf refuses what is none of the known words.
func OneOf(what string, known []string, words ...string) error {
	for _, s := range words {
		if !slices.Contains(known, s) {
			return fmt.Errorf("%s %q: want %s", what, s, strings.Join(known, ", "))
		}
	}
	return nil
}

// CheckTexts refuses in what is looked for what nothing can have: control characters, and
// what is not UTF-8.
func CheckTexts(texts ...string) error {
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

// QueueTerm means the workflows of a group; of none: of every group of the prefix.
// Their task queue says so, whatever IDs they have.
func QueueTerm(prefix, group string) string {
	if Askable(group) {
		return "TaskQueue = " + Quote(workflows.TaskQueue(prefix, group))
	}
	return "TaskQueue STARTS_WITH " + Quote(workflows.TaskQueue(prefix, ""))
}

// GroupTerm means the workflows of a group's task queue, or of one of its processes'.
func GroupTerm(prefix, group string) string {
	if !Askable(group) {
		return QueueTerm(prefix, group)
	}
	return fmt.Sprintf("(%s OR TaskQueue STARTS_WITH %s)", QueueTerm(prefix, group),
		Quote(workflows.InstanceQueue(prefix, group, "")))
}

// BeginsWith means the workflows whose ID begins with one of these.
func BeginsWith(prefixes ...string) string {
	terms := make([]string, len(prefixes))
	for i, p := range prefixes {
		terms[i] = "WorkflowId STARTS_WITH " + Quote(p)
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// Askable reports whether the visibility store can be asked for a value. On SQL,
// Temporal garbles quotation marks and backslashes, whatever their escapes; such
// values are looked for among all transactions instead.
func Askable(value string) bool { return value != "" && !strings.ContainsAny(value, `"\`) }

// HardToAsk adds to an error what took the time: a key that the visibility store cannot
// be asked for is compared with that of every workflow.
func HardToAsk(key string, err error) error {
	if err == nil || Askable(key) || !TimedOut(err) {
		return err
	}
	return text.WithRemedy(fmt.Errorf("a key with a quotation mark or a backslash is compared with all there are, and "+
		"the command's time was over before: %w", err),
		"raise --timeout, or give the workflow's ID, or the transaction's or message's with its --group or --consumer")
}

// Quote makes s a string in a visibility query.
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Names are the IDs that an ID as it was given may mean, the likeliest first: it may
// have been given without its prefix, or be from before that was part of it. None: it
// is another installation's.
func (t *Temporal) Names(id workflows.ID) []string {
	switch {
	case id.Prefix == t.Prefix || t.Prefix == workflows.DefaultPrefix && id.Prefix == "":
		return []string{id.String()}
	case id.Prefix != "":
		return nil
	}
	given := id.String()
	id.Prefix = t.Prefix
	return []string{given, id.String()}
}

// IsOurs reports whether a workflow that was described is this installation's.
func (t *Temporal) IsOurs(info *workflowpb.WorkflowExecutionInfo) bool {
	return workflows.IsOurs(t.Prefix, info.GetExecution().GetWorkflowId(), info.GetTaskQueue())
}

// StartTerms are the terms of a visibility query for a window.
func StartTerms(before, after time.Time) (terms []string) {
	if !before.IsZero() {
		terms = append(terms, "StartTime < "+Quote(before.UTC().Format(time.RFC3339Nano)))
	}
	if !after.IsZero() {
		terms = append(terms, "StartTime >= "+Quote(after.UTC().Format(time.RFC3339Nano)))
	}
	return terms
}

// LostStates are the states of what was ended from outside.
var LostStates = []string{"failed", "terminated", "canceled", "timed-out"}

// IsShared reports whether a workflow is one that transactions share.
func IsShared(workflowID string) bool {
	id, ok := workflows.ParseID(workflowID)
	return ok && id.Shared()
}

// SplitWorkflowID returns the group of a workflow, and its transaction's ID if
// it is the workflow of a single one.
func SplitWorkflowID(workflowID string) (group, tx string) {
	id, ok := workflows.ParseID(workflowID)
	switch {
	case !ok:
		return "", ""
	case id.Kind == workflows.KindTransaction:
		return id.Owner, id.Key
	}
	return id.Owner, ""
}

// OwnID is the ID of a transaction's own workflow; WorkflowID is any that it was in.
func OwnID(workflowID, tx string) string {
	id, _ := workflows.ParseID(workflowID)
	return workflows.WorkflowID(id.Prefix, id.Owner, tx)
}

// StateAll means dead letters in whatever state.
const StateAll = "all"
