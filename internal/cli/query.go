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
	if f.state != "" && !slices.Contains(states, f.state) {
		return fmt.Errorf("state %q: want %s", f.state, strings.Join(states, ", "))
	}
	for _, s := range []string{f.group, f.topic, f.key} {
		if strings.IndexFunc(s, unicode.IsControl) >= 0 {
			return errors.New("control characters are not allowed in what is looked for")
		}
	}
	return nil
}

// query is the filter as a query for Temporal's visibility store. It finds
// workflows; where one holds several transactions, or ended in a state that only
// its result tells, keeps decides for each.
func (f filter) query() string {
	terms := []string{"WorkflowType = " + quote(workflows.Name)}
	if f.group != "" {
		terms = append(terms, fmt.Sprintf("(WorkflowId STARTS_WITH %s OR WorkflowId STARTS_WITH %s)",
			quote(workflows.WorkflowID(f.group, "")), quote(cohortPrefix+f.group+"/")))
	}
	if f.state != "" {
		terms = append(terms, stateTerm(f.state))
	}
	if f.topic != "" {
		terms = append(terms, workflows.AttributeTopic+" = "+quote(f.topic))
	}
	if f.key != "" {
		terms = append(terms, workflows.AttributeKey+" = "+quote(f.key))
	}
	if !f.since.IsZero() {
		terms = append(terms, "StartTime >= "+quote(f.since.UTC().Format(time.RFC3339)))
	}
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

// keeps reports whether a transaction of a workflow that the query found is
// meant itself.
func (f filter) keeps(r row) bool {
	return (f.state == "" || r.State == f.state) &&
		(f.topic == "" || len(r.Topics) == 0 || slices.Contains(r.Topics, f.topic)) &&
		(f.key == "" || len(r.Keys) == 0 || slices.Contains(r.Keys, f.key))
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
