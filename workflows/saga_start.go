package workflows

import (
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
)

// SagaOptions are the options with which whoever starts the saga of in starts it:
// one workflow for each ID, and a new one only where the last was terminated,
// failed or timed out.
func SagaOptions(prefix string, in SagaInput) client.StartWorkflowOptions {
	return sagaOptions(prefix, in, in.ID, enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY, sagaSummary(in), sagaDetails(in))
}

// SagaUndoOptions are those with which a saga that has ended is undone: in.Undo
// says by whom and why. The same saga can be undone again: that finds nothing, or
// what was left.
func SagaUndoOptions(prefix string, in SagaInput) client.StartWorkflowOptions {
	return sagaOptions(prefix, in, SagaUndoID(in.ID), enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE, undoSummary(in), undoDetails(in))
}

func sagaOptions(prefix string, in SagaInput, id string, reuse enumspb.WorkflowIdReusePolicy, summary, details string) client.StartWorkflowOptions {
	if prefix == "" {
		prefix = "holdfast"
	}
	return client.StartWorkflowOptions{
		ID:                                       id,
		TaskQueue:                                TaskQueue(prefix, in.Group),
		WorkflowIDReusePolicy:                    reuse,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		EnableEagerStart:                         true,
		StaticSummary:                            summary,
		StaticDetails:                            clip(details, maxDetails),
		TypedSearchAttributes:                    sagaAttributes(in),
	}
}

// sagaAttributes are the search attributes that a saga begins with.
func sagaAttributes(in SagaInput) temporal.SearchAttributes {
	attributes := []temporal.SearchAttributeUpdate{temporal.NewSearchAttributeKeyKeyword(AttributeTopic).ValueSet(clip(in.Name, 255))}
	if in.Key != "" {
		attributes = append(attributes, setKeys([]string{clip(in.Key, holdfast.MaxName)}))
	}
	return temporal.NewSearchAttributes(attributes...)
}
