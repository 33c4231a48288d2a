package worker

import (
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

// sagaID is the ID of a saga of the group.
func (w *Worker) sagaID(name, key string) string {
	return workflows.SagaID(w.idPrefix(), w.o.Group, name, key)
}

// deadLetterID is the ID of the workflow of a dead letter.
func (w *Worker) deadLetterID(d holdfast.DeadLetter) string {
	return workflows.DeadLetterID(w.idPrefix(), d)
}

// isOwnSaga reports whether a workflow's ID is that of a saga of the group, in this
// installation as far as the ID says.
func (w *Worker) isOwnSaga(workflowID string) bool {
	id, ok := workflows.ParseID(workflowID)
	return ok && id.Kind == workflows.KindSaga && id.Owner == w.o.Group && (id.Prefix == "" || id.Prefix == w.o.Prefix)
}
