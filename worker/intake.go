package worker

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
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
	id := w.deadLetterID(holdfast.DeadLetter{ID: h.MessageID, Copy: h.Copy, Queue: h.Queue, Failure: holdfast.Failure{Consumer: h.Consumer}})
	if !h.Late && w.answers.expected(id, h.Redelivery) {
		// The workflow task that waits for it here may still be lost: then the
		// record that comes later ends the workflow.
		err := w.broker.Postpone(ctx, h)
		if err == nil && w.answers.give(id, h.Redelivery) {
			return nil
		}
	}
	_, err := w.tellLetter(ctx, id, deadletters.SignalHandled, h.Redelivery)
	return err
}

// tell signals a workflow, and reports false where it has ended.
func (w *Worker) tell(ctx context.Context, id, signal string, arg any) (told bool, err error) {
	err = w.o.Temporal.SignalWorkflow(ctx, id, "", signal, arg)
	var ended *serviceerror.NotFound
	switch {
	case errors.As(err, &ended):
		return false, nil
	case err != nil:
		return false, w.away(w.temporalError("signal workflow "+id, err))
	}
	return true, nil
}

// away marks that Temporal cannot be reached as no fault of a record.
func (w *Worker) away(err error) error {
	var unavailable *holdfast.UnavailableError
	if errors.As(err, &unavailable) {
		return broker.Wait(err)
	}
	return err
}

// Redeliver puts a dead letter back into its consumer's queue, and waits for the
// answer for r.Wait.
func (s steps) Redeliver(ctx context.Context, r activities.Redelivery) (out activities.Redelivered, err error) {
	req := broker.RedeliverRequest{Letter: r.Letter, N: r.N, Operator: r.Operator}
	if r.Edit != nil {
		req.Edited, req.Body, req.ContentType, req.OriginalSHA256 = true, r.Edit.Body, r.Edit.ContentType, r.Edit.OriginalSHA256
	}
	if r.Wait == 0 {
		return out, s.w.broker.Redeliver(ctx, req)
	}
	answer, forget := s.w.answers.expect(s.w.deadLetterID(r.Letter), r.N)
	defer forget()
	if err := s.w.broker.Redeliver(ctx, req); err != nil {
		return out, err
	}
	timer := time.NewTimer(r.Wait)
	defer timer.Stop()
	select {
	case <-answer:
	case <-timer.C:
	case <-ctx.Done():
	}
	out.Handled = forget()
	return out, nil
}

// AskHalf checks back the transaction of a half message that is a dead letter.
func (s steps) AskHalf(ctx context.Context, d holdfast.DeadLetter) activities.LocalResult {
	tx := activities.Tx{ID: d.TxID}
	h, err := s.w.broker.HalfOf(d)
	switch {
	case err == nil:
		tx.ID, tx.Messages = h.TxID, h.Messages
	case tx.ID == "":
		return activities.LocalResult{Error: "it does not say whose half message it is: " + err.Error()}
	case len(s.w.checkers) > 0 || s.w.o.RemoteCheck:
		return activities.LocalResult{ID: tx.ID, Error: "its messages, by whose topic a Checker is chosen, cannot be read: " + err.Error()}
	default:
		tx.Messages = []holdfast.Message{{ID: tx.ID}} // the outcome row is asked
	}
	return s.CheckBack(ctx, s.w.o.Group, tx)
}

// PublishCompensated publishes the compensation notice.
func (s steps) PublishCompensated(ctx context.Context, d holdfast.DeadLetter) error {
	return s.w.broker.PublishCompensated(ctx, d)
}

var _ interface {
	activities.Redeliverer
	activities.Notifier
	activities.Compensator
	activities.HalfTruth
} = steps{}
