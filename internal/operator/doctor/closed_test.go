package doctor

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
)

// reticent is a Temporal that lists two terminated workflows, and tells of none or one how it stands.
type reticent struct {
	client.Client
	tells string
}

func (reticent) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (
	*workflowservice.ListWorkflowExecutionsResponse, error) {
	page := &workflowservice.ListWorkflowExecutionsResponse{}
	for _, id := range []string{"tx/orders/1", "tx/orders/2"} {
		page.Executions = append(page.Executions, terminated(id))
	}
	return page, nil
}

func terminated(id string) *workflowpb.WorkflowExecutionInfo {
	return &workflowpb.WorkflowExecutionInfo{TaskQueue: workflows.TaskQueue("holdfast", "orders"),
		Status: enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED, Execution: &commonpb.WorkflowExecution{WorkflowId: id}}
}

func (r reticent) DescribeWorkflowExecution(_ context.Context, id, _ string) (
	*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if id != r.tells {
		return nil, errors.New("ask again later")
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: terminated(id)}, nil
}

// TestWhatCannotBeLookedAtIsNotWell: that nobody says how a closed workflow stands does not mean that it
// goes on in a new run.
func TestWhatCannotBeLookedAtIsNotWell(t *testing.T) {
	look := func(tells string) (int, string, error) {
		s := &server.Temporal{Client: reticent{tells: tells}, Namespace: "default", Prefix: "holdfast"}
		return closedUndecided(t.Context(), s, "")
	}
	n, _, err := look("")
	require.Zero(t, n)
	require.ErrorContains(t, err, "ask again later")
	n, example, err := look("tx/orders/2")
	require.NoError(t, err)
	require.Equal(t, []any{1, "tx/orders/2"}, []any{n, example})
}
