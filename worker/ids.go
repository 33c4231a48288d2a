package worker

import (
	"context"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// idPrefix is the prefix in the IDs of the workflows that this process starts. None
// while processes of a version run that knows no other IDs: for them and for this one
// a key has to mean the same workflow.
func (w *Worker) idPrefix() string {
	if w.o.RollingUpgrade {
		return ""
	}
	return w.o.Prefix
}

// workflowID is the ID of the workflow of one transaction of the group.
func (w *Worker) workflowID(txID string) string {
	return workflows.WorkflowID(w.idPrefix(), w.o.Group, txID)
}

// sagaID is the ID of a saga of the group.
func (w *Worker) sagaID(name, key string) string {
	return workflows.SagaID(w.idPrefix(), w.o.Group, name, key)
}

// deadLetterID is the ID of the workflow of a dead letter.
func (w *Worker) deadLetterID(d holdfast.DeadLetter) string {
	return workflows.DeadLetterID(w.idPrefix(), d)
}

// ownID is the ID of the workflow to which a transaction leaves that shares the
// workflow workflowID.
func ownID(workflowID, group, txID string) string {
	id, _ := workflows.ParseID(workflowID)
	return workflows.WorkflowID(id.Prefix, group, txID)
}

// isOwnSaga reports whether a workflow's ID is that of a saga of the group, in this
// installation as far as the ID says.
func (w *Worker) isOwnSaga(workflowID string) bool {
	id, ok := workflows.ParseID(workflowID)
	return ok && id.Kind == workflows.KindSaga && id.Owner == w.o.Group && (id.Prefix == "" || id.Prefix == w.o.Prefix)
}

// startedBefore says that a transaction was started when its workflow's ID did not have
// the prefix yet, and that workflow has not ended without deciding.
func (w *Worker) startedBefore(ctx context.Context, workflowID string) error {
	d, there, err := workflows.Before(ctx, w.o.Temporal, w.o.Prefix, workflowID)
	switch {
	case err != nil:
		return w.temporalError("look for an earlier workflow of "+workflowID, err)
	case there && (d.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING || d.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED):
		return duplicate(d.WorkflowExecution.ID)
	}
	return nil
}

// duplicate is the error of a second use of a transaction's ID.
func duplicate(workflowID string) error {
	return fmt.Errorf("%w: workflow %s is there already: use a new ID for new work", holdfast.ErrDuplicate, workflowID)
}
