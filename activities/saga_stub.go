package activities

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
)

// Sagas are the steps of the workflow Saga.
type Sagas struct {
	Runner SagaRunner
	Alerts Alerter
}

// Register registers them.
func (a *Sagas) Register(w worker.ActivityRegistry) {
	for name, f := range map[string]func(context.Context, SagaStep) SagaResult{SagaDo: a.Runner.Do, SagaUndo: a.Runner.Undo} {
		w.RegisterActivityWithOptions(func(ctx context.Context, s SagaStep) (SagaResult, error) { return f(ctx, s), nil }, activity.RegisterOptions{Name: name})
	}
	registerAlert(w, a.Alerts)
}
