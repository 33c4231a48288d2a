package activities

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Sagas are the steps of the workflow Saga. The methods may be called from many
// goroutines. Alerts may be nil: then nobody is told.
type Sagas struct {
	Runner SagaRunner
	Alerts Alerter
	// Own makes a workflow the one that drives a saga which a process may drive; nil: this process
	// has no database, and others are asked.
	Own func(ctx context.Context, in SagaOwning) (SagaOwned, error)
	// OwnFirst has a workflow that was started without a plan, and whose plan does not have it take
	// the begin row, be the one that drives the saga once its plan is found: an earlier version may
	// run the rest of it. Own is not nil then.
	OwnFirst bool
	// StepNames reports whether the activities of a saga that is begun here may be named
	// after its steps. nil: they are not.
	StepNames func(core.Plan) bool
}

// NoWorkerType is the type of the error by which a process says that it does not
// have the saga's version: Temporal asks others.
const NoWorkerType = "NoWorker"

// NoKey is the detail of such an error of a process that does not have the key with which
// the saga's state is encrypted.
const NoKey = "no key"

// NotRegisteredType is the type of the error by which a process says that it has no
// activity of that name. It is the one of Temporal's SDK.
const NotRegisteredType = "ActivityNotRegisteredError"

// Register registers the steps of a producer group's task queue. Each can be run
// as a local activity, too. An activity of a name that nobody has registered is one
// of them, too, if its input says so: it is named after a step.
func (a *Sagas) Register(w worker.ActivityRegistry) {
	w.RegisterActivityWithOptions(a.plan, activity.RegisterOptions{Name: SagaPlan})
	w.RegisterActivityWithOptions(a.own, activity.RegisterOptions{Name: SagaOwn})
	calls := a.calls()
	for name, call := range calls {
		w.RegisterActivityWithOptions(call, activity.RegisterOptions{Name: name})
	}
	w.RegisterDynamicActivity(named(calls), activity.DynamicRegisterOptions{})
	registerAlert(w, a.Alerts)
}

// sagaCall is one of the steps, as Temporal runs it.
type sagaCall func(context.Context, SagaStep) (SagaResult, error)

// calls are the steps by name.
func (a *Sagas) calls() map[string]sagaCall {
	return map[string]sagaCall{
		SagaDo: a.step(func(ctx context.Context, s SagaStep) SagaResult {
			fault.Point(fault.SagaDoBefore)
			return a.Runner.Do(ctx, s)
		}),
		SagaUndo: a.step(func(ctx context.Context, s SagaStep) SagaResult {
			fault.Point(fault.SagaUndoBefore)
			return a.Runner.Undo(ctx, s)
		}),
		SagaPrepare: a.step(func(ctx context.Context, s SagaStep) SagaResult { return a.Runner.Prepare(ctx, s) }),
		SagaReceive: a.step(func(ctx context.Context, s SagaStep) SagaResult { return a.Runner.Receive(ctx, s) }),
	}
}

// named runs an activity that is named after a saga's step: its input tells which of
// the calls it is. Any other one is an activity that this process does not have.
func named(calls map[string]sagaCall) func(context.Context, converter.EncodedValues) (SagaResult, error) {
	return func(ctx context.Context, args converter.EncodedValues) (SagaResult, error) {
		var s SagaStep
		if args.HasValues() && args.Get(&s) == nil {
			if call := calls[s.Call]; call != nil {
				return call(ctx, s)
			}
		}
		info := activity.GetInfo(ctx)
		return SagaResult{}, temporal.NewApplicationError(fmt.Sprintf("this worker of task queue %s has no activity %s: "+
			"register it with Worker.Activity before Run, in every process of the group",
			info.TaskQueue, info.ActivityType.Name), NotRegisteredType)
	}
}

// HasValues and Get have a SagaStep stand for the encoded arguments of a dynamic
// activity: Temporal's SDK passes a local activity what the workflow passes.
func (s SagaStep) HasValues() bool { return true }

// Get gives the step to its argument, a *SagaStep; see [SagaStep.HasValues].
func (s SagaStep) Get(to ...any) error {
	if len(to) == 1 {
		if step, ok := to[0].(*SagaStep); ok {
			*step = s
			return nil
		}
	}
	return fmt.Errorf("%w: a saga's step has one argument, a SagaStep", holdfast.ErrInvalid)
}

// plan returns a saga's definition. That this process does not have it is an error
// that is retried: another worker may.
func (a *Sagas) plan(ctx context.Context, s SagaRef) (SagaPlanned, error) {
	p, err := a.Runner.Plan(ctx, s.Name, s.Version)
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		return SagaPlanned{}, noWorker(s)
	case err != nil:
		return SagaPlanned{}, err
	}
	if a.OwnFirst && !p.BeginRow() && p.Quick() { // of another saga with its key the step rows tell
		if _, err := a.Own(ctx, SagaOwning{Saga: s}); err != nil {
			return SagaPlanned{}, err
		}
	}
	return SagaPlanned{Plan: p, StepNames: a.StepNames != nil && a.StepNames(p)}, nil
}

func (a *Sagas) own(ctx context.Context, in SagaOwning) (SagaOwned, error) {
	if a.Own == nil {
		return SagaOwned{}, &holdfast.UnavailableError{Part: "PostgreSQL", Err: errors.New("this process has no database"),
			Remedy: "start a process of group " + in.Saga.Group + " with Options.DB: a saga whose begin row is there needs it"}
	}
	return a.Own(ctx, in)
}

// step makes of a function of the runner what Temporal runs. It heartbeats where
// it is a regular activity, so that the death of its process is noticed.
func (a *Sagas) step(run func(context.Context, SagaStep) SagaResult) sagaCall {
	return func(ctx context.Context, s SagaStep) (SagaResult, error) {
		local := activity.GetInfo(ctx).IsLocalActivity
		if !local {
			defer heartbeat(ctx)()
		}
		out := run(ctx, s)
		if out.OtherDatabase && !local {
			return SagaResult{}, temporal.NewApplicationError(out.Outcome.Error, OtherDatabaseType)
		}
		if out.Outcome.Kind == core.OutcomeNoWorker && !local {
			if out.NoKey { // processes of earlier versions take it for the other
				return SagaResult{}, temporal.NewApplicationError(out.Outcome.Error, NoWorkerType, NoKey)
			}
			return SagaResult{}, noWorker(s.Saga)
		}
		return out, nil
	}
}

func noWorker(s SagaRef) error {
	what := s.Name
	if s.Version > 0 {
		what += fmt.Sprintf(" version %d", s.Version)
	}
	return temporal.NewApplicationError(fmt.Sprintf("this worker of group %s does not have saga %s: "+
		"start one that registers it", s.Group, what), NoWorkerType)
}
