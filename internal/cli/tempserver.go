package cli

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
)

// temporalServer is a connection to Temporal, and what was connected to.
type temporalServer struct {
	client.Client
	address, namespace string
	data               converter.DataConverter
	suggester
	// prefix is that of the installation which is looked at.
	prefix string
	// ids is the prefix in the IDs of the workflows that are started: none while
	// processes of a version run that knows no other IDs.
	ids string
	// rolling says that processes of an older version still run.
	rolling bool
}

// unstick has the next task of a workflow given to whatever process is free, with its
// whole history. The process that had it last may have forgotten it; a task for an
// Update that comes to it all the same is failed by Temporal's SDK and given out again,
// which takes three times as long: of many workflows, most are forgotten
// ([worker.Options.WorkflowCache]).
func (t *temporalServer) unstick(ctx context.Context, workflowID string) {
	_, _ = t.WorkflowService().ResetStickyTaskQueue(ctx, &workflowservice.ResetStickyTaskQueueRequest{Namespace: t.namespace,
		Execution: &commonpb.WorkflowExecution{WorkflowId: workflowID}}) // else it takes longer
}

// searchAttributes decodes search attributes, which no codec encodes.
var searchAttributes = converter.GetDefaultDataConverter()
