package workflows

import (
	"cmp"
	"context"
	"errors"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// DescribeOurs describes a workflow, and reports whether it is there and belongs to
// the installation with that prefix.
func DescribeOurs(ctx context.Context, c describer, prefix, workflowID string,
) (*client.WorkflowExecutionDescription, bool, error) {
	d, err := c.DescribeWorkflow(ctx, workflowID, "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	return d, IsOurs(cmp.Or(prefix, DefaultPrefix), workflowID, d.TaskQueueName), nil
}

// describer is what Before needs of Temporal's client.
type describer interface {
	DescribeWorkflow(ctx context.Context, workflowID, runID string) (*client.WorkflowExecutionDescription, error)
}

// Before looks for the workflow that workflowID meant before the prefix was part of it.
func Before(ctx context.Context, c describer, prefix, workflowID string,
) (*client.WorkflowExecutionDescription, bool, error) {
	before, other := BeforePrefixes(workflowID)
	if !other {
		return nil, false, nil
	}
	return DescribeOurs(ctx, c, prefix, before)
}
