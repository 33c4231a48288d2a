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
	if askable(f.group) {
		terms = append(terms, "TaskQueue = "+quote(workflows.TaskQueue(f.prefix, f.group)))
	} else {
		terms = append(terms, "TaskQueue STARTS_WITH "+quote(workflows.TaskQueue(f.prefix, "")))
	}
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
	return r.taskQueue == workflows.TaskQueue(f.prefix, r.Group) &&
		(f.group == "" || f.group == r.Group) &&
		(f.name == "" || f.name == r.Name) &&
		(f.key == "" || f.key == r.Key) &&
		(f.all() || slices.Contains(f.states, r.State)) &&
		(f.before.IsZero() || r.Started.Before(f.before)) &&
		(f.after.IsZero() || !r.Started.Before(f.after))
}

// sagaPrefix begins the IDs of sagas.
const sagaPrefix = "saga/"

// splitSagaID returns what a saga's ID is made of; ok is false if it is none.
func splitSagaID(id string) (group, name, key string, ok bool) {
	parts := strings.Split(id, "/")
	if len(parts) != 4 || parts[0]+"/" != sagaPrefix || parts[3] == "" {
		return "", "", "", false
	}
	return parts[1], parts[2], parts[3], true
}

// undoSuffix ends the ID of the workflow that undoes a saga which has ended.
var undoSuffix = workflows.SagaUndoID("")

// sagaOf returns the saga that a workflow is of, and whether it undoes it after
// its end.
func sagaOf(workflowID string) (id string, undo bool) {
	id, undo = strings.CutSuffix(workflowID, undoSuffix)
	if _, _, _, ok := splitSagaID(id); undo && !ok {
		return workflowID, false // a key may be "undo"
	}
	return id, undo
}
