package cli

import (
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfastmq/holdfast/workflows"
)

// sagaOptions are the options with which a saga is started.
func sagaOptions(prefix string, in workflows.SagaInput) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: in.ID, TaskQueue: workflows.TaskQueue(prefix, in.Group),
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(workflows.AttributeTopic).ValueSet(in.Name),
			temporal.NewSearchAttributeKeyKeywordList(workflows.AttributeKey).ValueSet([]string{in.Key}))}
}

// sagaUndoOptions are those of the workflow that undoes one which has ended.
func sagaUndoOptions(prefix string, in workflows.SagaInput) client.StartWorkflowOptions {
	o := sagaOptions(prefix, in)
	o.ID = workflows.SagaUndoID(in.ID)
	return o
}
