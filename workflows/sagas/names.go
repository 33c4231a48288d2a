package sagas

import (
	"errors"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
)

// A saga's activities are named after its steps, so that Temporal's UI reads like the
// saga. Processes of earlier versions do not know these names: a saga has them from
// its beginning, or not at all, and whoever begins it says which, in its input. That
// is no workflow.GetVersion, which would record two events in each saga, and is billed.

// takenNames are those of our own activities that a step could have, too. Recorded
// histories know them: the list never changes. A new activity of ours that is run on
// the group's task queue gets a name with a space in it, which no step has.
var takenNames = []string{"HalfSend", "LocalTransaction", "LocalTransactionInProcess",
	"LocalTransactionsInProcess", "Commit",
	"CommitUntilConfirmed", "Rollback", "CheckBack", "CheckBackAll", "Decide", "Redeliver", "Compensate", "Notify",
	"Alert",
	"SagaPlan", "SagaDo", "SagaUndo", "SagaPrepare", "SagaReceive", "SagaOwn"}

// CanNameSteps reports whether the activities of a saga of this plan, and of those
// that it has as steps, can be named after the steps. They cannot where an activity of
// the user's has the same name: it would be run in the step's place.
func CanNameSteps(plan *core.Plan, registered func(name string) bool) bool {
	can := true
	plan.Each(func(x *core.Step, _ int) {
		if (x.Kind == core.Local || x.Kind == core.Message) && registered(x.Name) || x.Saga != nil &&
			!CanNameSteps(x.Saga, registered) {
			can = false
		}
	})
	return can
}

// activityType is the name of the activity that makes a call for a step. Where it is
// not the call's own, in says which call it is. Recorded histories have these names.
func (s *sagaRun) activityType(t *try, call string, in *activities.SagaStep) string {
	in.Call = ""
	if !s.in.StepNames {
		return call
	}
	in.Call = call
	name := t.step.Name
	switch {
	case call == activities.SagaUndo:
		return "undo " + name
	case call == activities.SagaReceive:
		return "result of " + name
	case call == activities.SagaPrepare && t.step.Kind == core.Choice:
		return "choose " + name
	case call == activities.SagaPrepare && t.step.Kind == core.Wait:
		return "whether to wait for " + name
	case call == activities.SagaPrepare:
		return "input of " + name
	case slices.Contains(takenNames, name) || s.isUsersActivity(name):
		return "do " + name
	}
	return name
}

// isUsersActivity reports whether the plan has an activity of that name.
func (s *sagaRun) isUsersActivity(name string) (is bool) {
	s.in.Plan.Each(func(x *core.Step, _ int) {
		is = is || x.Kind == core.Activity && (x.Type == name || x.UndoType == name)
	})
	return is
}

// call runs one of the runner's steps as a regular activity. Where a process takes it
// for something else, it is run under the name that every version knows, and so is
// what comes after it.
func (s *sagaRun) call(ctx workflow.Context, t *try, name string, o workflow.ActivityOptions,
	in activities.SagaStep, stop func() bool) (out activities.SagaResult, err error) {
	kind := s.activityType(t, name, &in)
	err = s.activity(ctx, t, kind, o, in, &out, stop)
	if kind == name || !isStrange(out, err) {
		return out, err
	}
	s.in.StepNames = false
	return s.call(ctx, t, name, o, in, stop)
}

// isStrange reports whether an activity that is named after a step ended as none of
// the runner's steps ends: the process is of an earlier version, and does not have it,
// or has another activity of that name.
func isStrange(out activities.SagaResult, err error) bool {
	var cancelled *temporal.CanceledError
	var timeout *temporal.TimeoutError
	switch {
	case err == nil:
		return out.Outcome.Kind == ""
	case errors.As(err, &cancelled), errors.As(err, &timeout):
		return false
	}
	return !hasType(err, activities.NoWorkerType) && !hasType(err, activities.OtherDatabaseType)
}
