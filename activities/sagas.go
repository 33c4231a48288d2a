package activities

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/activity"
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
}

// NoWorkerType is the type of the error by which a process says that it does not
// have the saga's version: Temporal asks others.
const NoWorkerType = "NoWorker"

// Register registers the steps of a producer group's task queue. Each can be run
// as a local activity, too.
func (a *Sagas) Register(w worker.ActivityRegistry) {
	for name, step := range map[string]any{
		SagaPlan: a.plan,
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
	} {
		w.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: name})
	}
	registerAlert(w, a.Alerts)
}

// plan returns a saga's definition. That this process does not have it is an error
// that is retried: another worker may.
func (a *Sagas) plan(ctx context.Context, s SagaRef) (core.Plan, error) {
	p, err := a.Runner.Plan(ctx, s.Name, s.Version)
	if errors.Is(err, holdfast.ErrNotFound) {
		return p, noWorker(s)
	}
	return p, err
}

// step makes of a function of the runner what Temporal runs. It heartbeats where
// it is a regular activity, so that the death of its process is noticed.
func (a *Sagas) step(run func(context.Context, SagaStep) SagaResult) func(context.Context, SagaStep) (SagaResult, error) {
	return func(ctx context.Context, s SagaStep) (SagaResult, error) {
		local := activity.GetInfo(ctx).IsLocalActivity
		if !local {
			defer heartbeat(ctx)()
		}
		out := run(ctx, s)
		if out.Outcome.Kind == core.OutcomeNoWorker && !local {
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
	return temporal.NewApplicationError(fmt.Sprintf("this worker of group %s does not have saga %s: start one that registers it", s.Group, what), NoWorkerType)
}
