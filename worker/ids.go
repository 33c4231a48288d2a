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

// deadLetterID is the ID of the workflow of a dead letter.
func (w *Worker) deadLetterID(d holdfast.DeadLetter) string {
	return workflows.DeadLetterID(w.idPrefix(), d)
}
