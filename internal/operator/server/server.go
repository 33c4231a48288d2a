// Package server asks one Temporal: it lists workflows, describes them, reads their inputs,
// results and histories, asks where they stand, and sees who polls a task queue and whether
// its clock is right. It knows no noun: what is a transaction, a dead letter or a saga is
// known in the rooms above. It imports internal/operator/text and workflows.
package server

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/seal"
)

// Temporal is a connection to Temporal, and what was connected to.
type Temporal struct {
	client.Client
	Address, Namespace string
	Data               converter.DataConverter
	text.Suggester
	// prefix is that of the installation which is looked at.
	Prefix string
	// rolling says that processes of an older version still run.
	Rolling bool
	// Box opens what is encrypted, as far as it has the keys, and encrypts what is given to
	// workflows.
	Box *seal.Box
}

// Unstick has the next task of a workflow given to whatever process is free, with its
// whole history. The process that had it last may have forgotten it; a task for an
// Update that comes to it all the same is failed by Temporal's SDK and given out again,
// which takes three times as long: of many workflows, most are forgotten
// ([worker.Tuning.WorkflowCache]).
func (t *Temporal) Unstick(ctx context.Context, workflowID string) {
	_, _ = t.WorkflowService().ResetStickyTaskQueue(ctx,
		&workflowservice.ResetStickyTaskQueueRequest{Namespace: t.Namespace,
			Execution: &commonpb.WorkflowExecution{WorkflowId: workflowID}}) // else it takes longer
}

// SearchAttributes decodes search attributes, which no codec encodes.
var SearchAttributes = converter.GetDefaultDataConverter()
