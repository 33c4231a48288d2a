package worker

import (
	"context"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// intake gives each dead letter of the prefix a workflow. All processes that have
// Temporal share the work.
func (w *Worker) intake(ctx context.Context) error {
	return w.broker.ConsumeDead(ctx, broker.DeadOptions{Take: w.take})
}

// take returns nil once what r says is in a workflow's history, or has no
// workflow to go to any more.
func (w *Worker) take(ctx context.Context, r broker.DeadRecord) error {
	if r.Handled != nil {
		return w.handled(ctx, *r.Handled)
	}
	return w.bury(ctx, *r.Letter)
}

// handled passes on that a redelivery was handled.
func (w *Worker) handled(ctx context.Context, h broker.HandledRecord) error {
	id := w.deadLetterID(holdfast.DeadLetter{ID: h.MessageID, Copy: h.Copy,
		Queue: h.Queue, Failure: holdfast.Failure{Consumer: h.Consumer}})
	if !h.Late && w.answers.Expected(id, h.Redelivery) {
		// The workflow task that waits for it here may still be lost: then the
		// record that comes later ends the workflow.
		err := w.broker.Postpone(ctx, h)
		if err == nil && w.answers.Give(id, h.Redelivery) {
			return nil
		}
	}
	_, err := w.tellLetter(ctx, id, deadletters.SignalHandled, h.Redelivery)
	return err
}
