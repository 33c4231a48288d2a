package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	enumspb "go.temporal.io/api/enums/v1"

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
	group, state, topic, key string
	since                    time.Time
}

// validate says what is wrong with a filter.
func (f filter) validate() error {
	if f.state != "" {
		if err := oneOf("state", states, f.state); err != nil {
			return err
		}
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

// plain refuses control characters in what is looked for.
func plain(texts ...string) error {
	for _, s := range texts {
		if strings.IndexFunc(s, unicode.IsControl) >= 0 {
			return errors.New("control characters are not allowed in what is looked for")
		}
	}
	return nil
}

// query is the filter as a query for Temporal's visibility store. What it finds
// may be more than what is meant: matches and keeps decide.
func (f filter) query() string {
	terms := []string{kindTerm}
	if f.group != "" {
		terms = append(terms, beginsWith(workflows.WorkflowID(f.group, ""), workflows.CohortWorkflowID(f.group, ""), workflows.RecoveryWorkflowID(f.group, "")))
	}
	if f.state != "" {
		terms = append(terms, stateTerm(f.state))
	}
	if askable(f.topic) { // a shared workflow has its further topics among the keys
		terms = append(terms, fmt.Sprintf("(%s = %s OR %s = %s)", workflows.AttributeTopic, quote(f.topic), workflows.AttributeKey, quote(f.topic)))
	}
	if askable(f.key) {
		terms = append(terms, workflows.AttributeKey+" = "+quote(f.key))
	}
	terms = append(terms, startTerms(time.Time{}, f.since)...)
	return strings.Join(terms, " AND ")
}

// kindTerm means every workflow that coordinates transactions.
var kindTerm = fmt.Sprintf("WorkflowType IN (%s, %s)", quote(workflows.Name), quote(workflows.RecoveryName))

// beginsWith means the workflows whose ID begins with one of these.
func beginsWith(prefixes ...string) string {
	terms := make([]string, len(prefixes))
	for i, p := range prefixes {
		terms[i] = "WorkflowId STARTS_WITH " + quote(p)
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

func stateTerm(state string) string {
	switch s := workflows.State(state); {
	case state == stateRunning:
		return `ExecutionStatus = "Running" AND ` + workflows.AttributeState + " IS NULL"
	case s.Final():
		// A happy path sets no state, and a shared workflow that of its last member.
		return fmt.Sprintf(`ExecutionStatus = "Completed" AND (%s IS NULL OR %s = %s OR %s)`,
			workflows.AttributeState, workflows.AttributeState, quote(state), beginsWith(cohortPrefix, recoveryPrefix))
	case closedStates[state] != 0:
		return "ExecutionStatus = " + quote(closedStates[state].String())
	}
	return `ExecutionStatus = "Running" AND ` + workflows.AttributeState + " = " + quote(state)
}

// askable reports whether the visibility store can be asked for a value. On SQL,
// Temporal garbles quotation marks and backslashes, whatever their escapes; such
// values are looked for among all transactions instead.
func askable(value string) bool { return value != "" && !strings.ContainsAny(value, `"\`) }

// matches reports whether a workflow can have what is meant, by its search
// attributes. The visibility store is asked for them too, but may ignore case. A
// shared workflow has its members' IDs and further topics among the keys.
func (f filter) matches(known row) bool {
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
		if (!shared(known.WorkflowID) && len(of) == 1 || f.means(r)) && (f.state == "" && !left || f.state == r.State) {
			kept = append(kept, r)
		}
	}
	return kept
}

// quote makes s a string in a visibility query.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// What the IDs of workflows begin with: of one transaction, and of several.
const (
	txPrefix       = "tx/"
	cohortPrefix   = "cohort/"
	recoveryPrefix = "recovery/"
)

// shared reports whether a workflow is one that transactions share.
func shared(workflowID string) bool {
	return strings.HasPrefix(workflowID, cohortPrefix) || strings.HasPrefix(workflowID, recoveryPrefix)
}

// splitWorkflowID returns the group of a workflow, and its transaction's ID if
// it is the workflow of a single one.
func splitWorkflowID(id string) (group, tx string) {
	kind, rest, _ := strings.Cut(id, "/")
	group, last, ok := strings.Cut(rest, "/")
	switch {
	case !ok:
		return "", ""
	case kind == "tx":
		return group, last
	}
	return group, ""
}
