// Package signals sends signals to workflows for what a record of RabbitMQ says, and tells
// a workflow that has ended from a Temporal that is away.
package signals

import (
	"context"
	"errors"

	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
)

// Temporal is what is needed of Temporal's client.
type Temporal interface {
	SignalWorkflow(ctx context.Context, workflowID, runID, signal string, arg any) error
}

// Send signals a workflow, and reports false where it has ended, or never was.
func Send(ctx context.Context, t Temporal, workflowID, signal string, arg any) (told bool, err error) {
	err = t.SignalWorkflow(ctx, workflowID, "", signal, arg)
	var ended *serviceerror.NotFound
	switch {
	case errors.As(err, &ended):
		return false, nil
	case err != nil:
		return false, Away(temporalerr.Unavailable("signal workflow "+workflowID, err))
	}
	return true, nil
}

// Away marks an error of a Temporal that cannot be reached as no fault of a record.
func Away(err error) error {
	var unavailable *holdfast.UnavailableError
	if errors.As(err, &unavailable) {
		return broker.Wait(err)
	}
	return err
}
