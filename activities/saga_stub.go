package activities

import "go.temporal.io/sdk/worker"

// Sagas are the steps of the workflow Saga.
type Sagas struct {
	Runner SagaRunner
	Alerts Alerter
}

// Register registers them.
func (a *Sagas) Register(worker.ActivityRegistry) {}
