package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaStates are the states that sagas can be listed by.
var sagaStates = []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateParked,
	core.StateCompensating, core.StateCompensationFailed, core.StateCompleted, core.StateCompensated,
	"failed", "terminated", "canceled", "timed-out", stateAll}

// sagaFilter says which sagas are meant. Without states, it means all.
type sagaFilter struct {
	prefix           string
	group, name, key string
	states           []string
	before, after    time.Time // of the saga's start; the zero time: whenever
	closedAfter      time.Time // of its workflow's end; the zero time: whenever, or not ended
}

// validate says what is wrong with a filter.
func (f sagaFilter) validate() error {
	if err := oneOf("state", sagaStates, f.states...); err != nil {
		return err
	}
	return plain(f.group, f.name, f.key)
}

// query is the filter as a query for Temporal's visibility store. It finds each
// saga that is meant by its own workflow or by the one that undoes it, and may
// find more: matches decides.
func (f sagaFilter) query() string {
	terms := []string{"WorkflowType = " + quote(workflows.SagaName)}
	terms = append(terms, queueTerm(f.prefix, f.group))
	terms = append(terms, f.stateTerms())
	if askable(f.name) {
		terms = append(terms, workflows.AttributeTopic+" = "+quote(f.name))
	}
	if askable(f.key) {
		terms = append(terms, workflows.AttributeKey+" = "+quote(f.key))
	}
	before := f.before
	if !f.all() {
		before = time.Time{} // an old saga may be found only by what undoes it, which is younger
	}
	if !f.closedAfter.IsZero() {
		terms = append(terms, "CloseTime >= "+quote(f.closedAfter.UTC().Format(time.RFC3339Nano)))
	}
	return strings.Join(append(terms, startTerms(before, f.after)...), " AND ")
}

// all reports whether sagas in whatever state are meant.
func (f sagaFilter) all() bool { return len(f.states) == 0 || slices.Contains(f.states, stateAll) }

func (f sagaFilter) stateTerms() string {
	if f.all() {
		return `ExecutionStatus != "ContinuedAsNew"`
	}
	var terms []string
	for _, s := range f.states {
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
	switch status := closedStates[state]; {
	case status != 0:
		return "ExecutionStatus = " + quote(status.String())
	case state == core.StateRunning:
		return fmt.Sprintf(`(ExecutionStatus = "Running" AND (%s IS NULL OR %s = %s))`, attribute, attribute, quote(state))
	case state == core.StateCompleted:
		return fmt.Sprintf(`(ExecutionStatus = "Completed" AND (%s IS NULL OR %s != %s))`, attribute, attribute, quote(core.StateCompensated))
	case state == core.StateCompensated:
		return fmt.Sprintf(`(ExecutionStatus = "Completed" AND %s = %s)`, attribute, quote(state))
	}
	return fmt.Sprintf(`(ExecutionStatus = "Running" AND %s = %s)`, attribute, quote(state))
}

// matches reports whether r is meant. The visibility store was asked for most of
// it, but may be late, or ignore case.
func (f sagaFilter) matches(r sagaRow) bool {
	return workflows.IsOurs(f.prefix, r.ID, r.taskQueue) &&
		(f.group == "" || f.group == r.Group) &&
		(f.name == "" || f.name == r.Name) &&
		(f.key == "" || f.key == r.Key) &&
		(f.all() || slices.Contains(f.states, r.State)) &&
		(f.before.IsZero() || r.Started.Before(f.before)) &&
		(f.after.IsZero() || !r.Started.Before(f.after))
}

// splitSagaID returns what a saga's ID is made of; ok is false if it is none.
func splitSagaID(id string) (group, name, key string, ok bool) {
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
