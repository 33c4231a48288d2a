package sagas

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagacohort"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// States are the states that sagas can be listed by.
var States = []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateParked,
	core.StateCompensating, core.StateCompensationFailed, core.StateCompleted, core.StateCompensated,
	"failed", "terminated", "canceled", "timed-out", server.StateAll}

// Filter says which sagas are meant. Without states, it means all.
type Filter struct {
	Prefix           string
	Group, Name, Key string
	States           []string
	Before, After    time.Time // of the saga's start; the zero time: whenever
	ClosedAfter      time.Time // of its workflow's end; the zero time: whenever, or not ended
	Scan             int       // how many workflows are looked at, about: see Each; 0: all
}

// Validate says what is wrong with a filter.
func (f Filter) Validate() error {
	if err := server.OneOf("state", States, f.States...); err != nil {
		return err
	}
	return server.CheckTexts(f.Group, f.Name, f.Key)
}

// Query is the filter as a query for Temporal's visibility store. It finds each
// saga that is meant by its own workflow, the one that undoes it or the one that it shares, and may
// find more: matches decides.
func (f Filter) Query() string {
	const kind = "WorkflowType = "
	shared := kind + server.Quote(sagacohort.Name)
	terms := []string{"(" + kind + server.Quote(sagaflow.Name) + " OR " + shared + ")"}
	terms = append(terms, server.QueueTerm(f.Prefix, f.Group))
	terms = append(terms, f.stateTerms())
	if server.Askable(f.Name) {
		name := " = " + server.Quote(f.Name)
		terms = append(terms, "("+workflows.AttributeTopic+name+" OR "+shared+" AND "+workflows.AttributeKey+name+")")
	}
	if server.Askable(f.Key) {
		terms = append(terms, workflows.AttributeKey+" = "+server.Quote(f.Key))
	}
	before := f.Before
	if !f.All() {
		before = time.Time{} // an old saga may be found only by what undoes it, which is younger
	}
	if !f.ClosedAfter.IsZero() {
		terms = append(terms, "CloseTime >= "+server.Quote(f.ClosedAfter.UTC().Format(time.RFC3339Nano)))
	}
	return strings.Join(append(terms, server.StartTerms(before, f.After)...), " AND ")
}

// All reports whether sagas in whatever state are meant.
func (f Filter) All() bool { return len(f.States) == 0 || slices.Contains(f.States, server.StateAll) }

func (f Filter) stateTerms() string {
	if f.All() {
		return `ExecutionStatus != "ContinuedAsNew"`
	}
	var terms []string
	for _, s := range f.States {
		terms = append(terms, sagaStateTerm(s))
	}
	if len(terms) == 1 {
		return terms[0]
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// sagaStateTerm is the term for one state. On its happy path a saga sets none.
func sagaStateTerm(state string) string {
	const attribute = workflows.AttributeState
	switch status := server.ClosedStates[state]; {
	case status != 0:
		return "ExecutionStatus = " + server.Quote(status.String())
	case state == core.StateRunning:
		return fmt.Sprintf(`(ExecutionStatus = "Running" AND (%s IS NULL OR %s = %s))`, attribute, attribute,
			server.Quote(state))
	case state == core.StateCompleted:
		return fmt.Sprintf(`(ExecutionStatus = "Completed" AND (%s IS NULL OR %s != %s))`, attribute, attribute,
			server.Quote(core.StateCompensated))
	case state == core.StateCompensated:
		return fmt.Sprintf(`(ExecutionStatus = "Completed" AND %s = %s)`, attribute, server.Quote(state))
	}
	return fmt.Sprintf(`(ExecutionStatus = "Running" AND %s = %s)`, attribute, server.Quote(state))
}

// Matches reports whether r is meant. The visibility store was asked for most of
// it, but may be late, or ignore case.
func (f Filter) Matches(r Row) bool {
	return workflows.IsOurs(f.Prefix, r.ID, r.taskQueue) &&
		f.named(r) &&
		(f.All() || slices.Contains(f.States, r.State)) &&
		(f.Before.IsZero() || r.Started.Before(f.Before)) &&
		(f.After.IsZero() || !r.Started.Before(f.After))
}

// named reports whether r is meant by what its ID says.
func (f Filter) named(r Row) bool {
	return (f.Group == "" || f.Group == r.Group) && (f.Name == "" || f.Name == r.Name) && (f.Key == "" || f.Key == r.Key)
}

// SplitID returns what a saga's ID is made of; ok is false if it is none.
func SplitID(id string) (group, name, key string, ok bool) {
	known, ok := workflows.ParseID(id)
	if !ok || known.Kind != workflows.KindSaga || known.Undo {
		return "", "", "", false
	}
	return known.Owner, known.Name, known.Key, true
}

// sagaOf returns the saga that a workflow is of, and whether it undoes it after
// its end.
func sagaOf(workflowID string) (id string, undo bool) {
	known, ok := workflows.ParseID(workflowID)
	if !ok || known.Kind != workflows.KindSaga {
		return workflowID, false
	}
	return known.Saga(), known.Undo
}
