package workflows

import (
	"errors"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"
)

// Saga is the workflow of a saga.
func Saga(workflow.Context, SagaInput) (SagaStatus, error) {
	return SagaStatus{}, errors.ErrUnsupported
}

// SagaOptions are the options with which a saga is started.
func SagaOptions(prefix string, in SagaInput) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: in.ID, TaskQueue: TaskQueue(prefix, in.Group)}
}
