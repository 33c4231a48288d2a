// Package firstcall has the server of a Temporal client reached by one caller first, while the others
// wait. With its first answer a lazy client learns what the server can do, and where several
// calls are the first, ExecuteWorkflow of Temporal's SDK 1.50 reads that while another one
// writes it. Package worker calls Temporal so.
package firstcall

import (
	"context"

	"go.temporal.io/sdk/client"
)

// caller is such a client.
type caller struct {
	client.Client
	turn    chan struct{} // has an element while somebody makes the first call
	reached chan struct{} // closed when the server has answered
}

// New returns c with that; nil for nil. The SDK's workers take c only as it is.
func New(c client.Client) client.Client {
	if c == nil {
		return nil
	}
	return &caller{Client: c, turn: make(chan struct{}, 1), reached: make(chan struct{})}
}

// ExecuteWorkflow is the client's.
func (c *caller) ExecuteWorkflow(ctx context.Context, o client.StartWorkflowOptions, workflow any,
	args ...any) (client.WorkflowRun, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	return c.Client.ExecuteWorkflow(ctx, o, workflow, args...)
}

// CheckHealth is the client's.
func (c *caller) CheckHealth(ctx context.Context,
	r *client.CheckHealthRequest) (*client.CheckHealthResponse, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	return c.Client.CheckHealth(ctx, r)
}

func (c *caller) reach(ctx context.Context) error {
	select {
	case <-c.reached:
		return nil
	default:
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-c.reached:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-c.reached: // by the one before
		return nil
	default:
	}
	_, err := c.Client.CheckHealth(ctx, &client.CheckHealthRequest{})
	if err == nil {
		close(c.reached)
	}
	return err
}
