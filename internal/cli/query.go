package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/workflows"
)

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

// sharedBegins is what the IDs of workflows begin with that transactions share.
func sharedBegins(prefix string) []string {
	return append(workflows.KindCohort.Begins(prefix), workflows.KindRecovery.Begins(prefix)...)
}
