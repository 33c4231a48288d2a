package transactions

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// States are the states that transactions can be listed by.
var States = []string{server.StateRunning, string(workflows.Checking), string(workflows.Delivering),
	string(workflows.Parked),
	string(workflows.Committed), string(workflows.RolledBack), string(workflows.Refused), string(workflows.Left),
	"failed", "terminated", "canceled", "timed-out"}

// Filter says which transactions are meant. Its zero value means all.
type Filter struct {
	Prefix            string
	Group, Topic, Key string
	States            []string
	ErrorText         string
	Before, Since     time.Time // of their workflow's start; the zero time: whenever
	Reasons           bool      // those in trouble are asked why
}

// Validate says what is wrong with a filter.
func (f Filter) Validate() error {
	if err := server.OneOf("state", States, f.States...); err != nil {
		return err
	}
	return server.CheckTexts(f.Group, f.Topic, f.Key)
}

// Query is the filter as a query for Temporal's visibility store. What it finds
// may be more than what is meant: matches and keeps decide.
func (f Filter) Query() string {
	terms := []string{KindTerm, server.GroupTerm(f.Prefix, f.Group)}
	if term := f.stateTerms(); term != "" {
		terms = append(terms, term)
	}
	if server.Askable(f.Topic) { // a shared workflow has its further topics among the keys
		terms = append(terms, fmt.Sprintf("(%s = %s OR %s = %s)", workflows.AttributeTopic, server.Quote(f.Topic),
			workflows.AttributeKey, server.Quote(f.Topic)))
	}
	if server.Askable(f.Key) {
		term := workflows.AttributeKey + " = " + server.Quote(f.Key)
		if short := workflows.FindableID(f.Key); short != f.Key { // what a shared workflow has of an ID
			term = "(" + term + " OR " + workflows.AttributeKey + " = " + server.Quote(short) + ")"
		}
		terms = append(terms, term)
	}
	terms = append(terms, server.StartTerms(f.Before, f.Since)...)
	return strings.Join(terms, " AND ")
}

// KindTerm means every workflow that coordinates transactions.
var KindTerm = fmt.Sprintf("WorkflowType IN (%s, %s)", server.Quote(txflow.Name), server.Quote(txflow.RecoveryName))

// stateTerms means the workflows that may hold transactions in one of the states;
// empty: in whatever state.
func (f Filter) stateTerms() string {
	var terms []string
	for _, s := range f.States {
		terms = append(terms, stateTerm(f.Prefix, s))
	}
	if len(terms) < 2 {
		return strings.Join(terms, "")
	}
	return "((" + strings.Join(terms, ") OR (") + "))"
}

func stateTerm(prefix, state string) string {
	switch s := workflows.State(state); {
	case state == server.StateRunning:
		return `ExecutionStatus = "Running" AND ` + workflows.AttributeState + " IS NULL"
	case s.Final():
		// A happy path sets no state, and a shared workflow that of its last member.
		return fmt.Sprintf(`ExecutionStatus = "Completed" AND (%s IS NULL OR %s = %s OR %s)`,
			workflows.AttributeState, workflows.AttributeState, server.Quote(state), server.BeginsWith(sharedBegins(prefix)...))
	case server.ClosedStates[state] != 0:
		return "ExecutionStatus = " + server.Quote(server.ClosedStates[state].String())
	}
	return `ExecutionStatus = "Running" AND ` + workflows.AttributeState + " = " + server.Quote(state)
}

// matches reports whether a workflow can have what is meant, by its search
// attributes. The visibility store is asked for them too, but may ignore case. A
// shared workflow has its members' IDs and further topics among the keys.
func (f Filter) matches(known Row) bool {
	if known.taskQueue != "" && !workflows.IsOurs(f.Prefix, known.WorkflowID, known.taskQueue) {
		return false
	}
	if f.Group != "" && known.Group != f.Group {
		return false
	}
	shared := server.IsShared(known.WorkflowID)
	topic := f.Topic == "" || slices.Contains(known.Topics, f.Topic) || shared && slices.Contains(known.Keys, f.Topic)
	return topic && (f.Key == "" || slices.Contains(known.Keys, f.Key) ||
		shared && slices.Contains(known.Keys, workflows.FindableID(f.Key)))
}

// means reports whether a member of a shared workflow is meant.
func (f Filter) means(r Row) bool {
	return (f.Topic == "" || slices.Contains(r.Topics, f.Topic)) &&
		(f.Key == "" || r.Tx == f.Key || slices.Contains(r.Keys, f.Key))
}

// keeps returns those of a workflow's transactions that are meant. known is what
// the search attributes say of all of them. One that left is listed where it goes
// on, unless those that left are asked for.
func (f Filter) keeps(known Row, of []Row) []Row {
	var kept []Row
	if !f.matches(known) {
		return nil
	}
	for _, r := range of {
		left := r.State == string(workflows.Left)
		if (!server.IsShared(known.WorkflowID) && len(of) == 1 || f.means(r)) &&
			(len(f.States) == 0 && !left || slices.Contains(f.States, r.State)) {
			kept = append(kept, r)
		}
	}
	return kept
}

// sharedBegins is what the IDs of workflows begin with that transactions share.
func sharedBegins(prefix string) []string {
	return append(workflows.KindCohort.Begins(prefix), workflows.KindRecovery.Begins(prefix)...)
}
