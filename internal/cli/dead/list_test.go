package dead

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

// endless is a Temporal with more dead letters than there is time to list: after the first page,
// it takes all of it.
type endless struct{ client.Client }

func (endless) ListWorkflow(ctx context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if len(r.GetNextPageToken()) > 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	page := &workflowservice.ListWorkflowExecutionsResponse{NextPageToken: []byte("more")}
	for i := range 3 {
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{TaskQueue: workflows.DeadLetterQueue("holdfast"),
			Status:    enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
			Execution: &commonpb.WorkflowExecution{WorkflowId: fmt.Sprintf("dead/payments/%d", i)}})
	}
	return page, nil
}

// TestGroupsOfWhatThereIsTimeFor: what was counted is printed, and that it is not all is an error.
func TestGroupsOfWhatThereIsTimeFor(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		a := &frame.App{Surroundings: frame.Surroundings{Out: &out, Err: &out, Now: time.Now}}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		at := &server.Temporal{Client: endless{}, Data: converter.GetDefaultDataConverter(), Prefix: "holdfast"}
		d := &deadFlags{Which: frame.Which{Limit: 20}}
		err := listGroups(ctx, a, at, deadletters.Filter{Prefix: "holdfast"}, d, "consumer", asJSON)
		require.ErrorContains(t, err, "Not all were looked at, but 3 workflows")
		_, remedy := text.SplitRemedy(err)
		require.Contains(t, remedy, "raise --timeout")
		if asJSON {
			var groups []deadletters.Group
			require.NoError(t, json.Unmarshal(out.Bytes(), &groups))
			require.Equal(t, 3, groups[0].Count)
		} else {
			require.Contains(t, out.String(), "payments")
		}
	}
}
