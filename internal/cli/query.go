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
	string(workflows.Committed), string(workflows.RolledBack), string(workflows.Refused),
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
	terms := []string{"WorkflowType = " + quote(workflows.Name)}
	if f.group != "" {
		terms = append(terms, fmt.Sprintf("(WorkflowId STARTS_WITH %s OR WorkflowId STARTS_WITH %s)",
			quote(workflows.WorkflowID(f.group, "")), quote(cohortPrefix+f.group+"/")))
	}
	if f.state != "" {
		terms = append(terms, stateTerm(f.state))
	}
	if askable(f.topic) {
		terms = append(terms, workflows.AttributeTopic+" = "+quote(f.topic))
	}
	if askable(f.key) {
		terms = append(terms, workflows.AttributeKey+" = "+quote(f.key))
	}
	terms = append(terms, startTerms(time.Time{}, f.since)...)
	return strings.Join(terms, " AND ")
}

func stateTerm(state string) string {
	switch s := workflows.State(state); {
	case state == stateRunning:
		return `ExecutionStatus = "Running" AND ` + workflows.AttributeState + " IS NULL"
	case s.Final():
		// A happy path sets no state, and a cohort that of its last member.
		return fmt.Sprintf(`ExecutionStatus = "Completed" AND (%s IS NULL OR %s = %s OR WorkflowId STARTS_WITH %s)`,
			workflows.AttributeState, workflows.AttributeState, quote(state), quote(cohortPrefix))
	case closedStates[state] != 0:
		return "ExecutionStatus = " + quote(closedStates[state].String())
	}
	return `ExecutionStatus = "Running" AND ` + workflows.AttributeState + " = " + quote(state)
}

// askable reports whether the visibility store can be asked for a value. On SQL,
// Temporal garbles quotation marks and backslashes, whatever their escapes; such
// values are looked for among all transactions instead.
func askable(value string) bool { return value != "" && !strings.ContainsAny(value, `"\`) }

// matches reports whether a row has the topic and the key that are meant. The
// visibility store is asked for them too, but may ignore case.
func (f filter) matches(r row) bool {
	return (f.topic == "" || slices.Contains(r.Topics, f.topic)) && (f.key == "" || slices.Contains(r.Keys, f.key))
}

// keeps returns those of a workflow's transactions that are meant. known is what
// the search attributes say of all of them.
func (f filter) keeps(known row, of []row) []row {
	var kept []row
	if !f.matches(known) {
		return nil
	}
	for _, r := range of {
		if (len(of) == 1 || f.matches(r)) && (f.state == "" || f.state == r.State) {
			kept = append(kept, r)
		}
	}
	return kept
}

// quote makes s a string in a visibility query.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// cohortPrefix begins the IDs of workflows that hold several transactions.
const cohortPrefix = "cohort/"

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
