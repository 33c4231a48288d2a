package steps

import (
	"context"
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/seal"
)

// Redeliver puts a dead letter back into its consumer's queue, and waits for the
// answer for r.Wait.
func (s *Steps) Redeliver(ctx context.Context, r activities.Redelivery) (out activities.Redelivered, err error) {
	req := broker.RedeliverRequest{Letter: r.Letter, N: r.N, Operator: r.Operator}
	if r.Edit != nil {
		if r.Edit.ContentType == "" && seal.IsSealed(r.Letter.Message) {
			return out, fmt.Errorf("%w: message %s is encrypted, and its new body is not: edit it with "+
				"`holdfast dead redeliver --edit` where HOLDFAST_KEYRING is set", holdfast.ErrInvalid, r.Letter.ID)
		}
		req.Edited, req.OriginalSHA256 = true, r.Edit.OriginalSHA256
		req.Body, req.ContentType = r.Edit.Body, r.Edit.ContentType
	}
	if r.Wait == 0 {
		return out, s.Letters.Redeliver(ctx, req)
	}
	answer, forget := s.Answers.expect(s.DeadLetterID(r.Letter), r.N)
	defer forget()
	if err := s.Letters.Redeliver(ctx, req); err != nil {
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
func (s *Steps) AskHalf(ctx context.Context, d holdfast.DeadLetter) activities.LocalResult {
	tx := activities.Tx{ID: d.TxID}
	h, err := s.Letters.HalfOf(d)
	switch {
	case err == nil && h.Saga != nil:
		return activities.LocalResult{ID: h.TxID, Error: "it is a start of saga " + h.Saga.Name + ", key " + h.Saga.Key +
			", and no transaction: redeliver it, so that the group's Keeper carries it on"}
	case err == nil:
		tx.ID, tx.Messages = h.TxID, h.Messages
	case tx.ID == "":
		return activities.LocalResult{Error: "whose half message it is cannot be told: " + err.Error()}
	case len(s.Checkers) > 0 || s.Remote != nil:
		return activities.LocalResult{ID: tx.ID, Error: "its messages, by whose topic a Checker is chosen, " +
			"cannot be read: " + err.Error()}
	default:
		tx.Messages = []holdfast.Message{{ID: tx.ID}} // the outcome row is asked
	}
	return s.CheckBack(ctx, s.Group, tx)
}

// PublishCompensated publishes the compensation notice.
func (s *Steps) PublishCompensated(ctx context.Context, d holdfast.DeadLetter) error {
	return s.Letters.PublishCompensated(ctx, d)
}

var _ interface {
	activities.Redeliverer
	activities.Notifier
	activities.Compensator
	activities.HalfTruth
} = (*Steps)(nil)
