package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// lane is how the transaction of ms is coordinated: Express only if each message
// is.
func (w *Worker) lane(ms []holdfast.Message) holdfast.Lane {
	for _, m := range ms {
		lane := m.Lane
		if lane == "" {
			lane = w.o.Lanes[m.Topic]
		}
		if lane == "" {
			lane = w.o.Lane
		}
		if lane != holdfast.Express {
			return holdfast.Traced
		}
	}
	return holdfast.Express
}

// express is a transaction in the Express lane: half message, local transaction,
// messages, op record, in the caller's goroutine. Whatever it does not come to,
// the Keeper hands over.
func (w *Worker) express(ctx context.Context, ms []holdfast.Message, local LocalAll) (holdfast.Receipt, error) {
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	tx := activities.Tx{Form: activities.Inline, Instance: w.o.Instance}
	receipt, err := w.identify(&tx, ms)
	if err != nil {
		return receipt, err
	}
	if err := w.enter(ctx); err != nil {
		return receipt, err
	}
	defer w.sending.Done()
	fresh := ms[0].ID == ""
	if !fresh {
		if _, err := barrier.Read(ctx, w.o.DB, tx.ID); !errors.Is(err, holdfast.ErrNotFound) {
			if err == nil {
				err = fmt.Errorf("%w: transaction %s has an outcome row already: use a new ID for new work", holdfast.ErrDuplicate, tx.ID)
			}
			return receipt, err
		}
	}
	half := holdfast.Half{TxID: tx.ID, Group: w.o.Group, Messages: tx.Messages, At: time.Now(), Lane: holdfast.Express}
	if err := w.broker.PublishHalf(ctx, half); err != nil {
		if fresh {
			receipt.Resolution = holdfast.Rollback
		}
		return receipt, fmt.Errorf("%w: %w", holdfast.ErrNotStored, err)
	}
	fault.Point(fault.HalfAfterConfirm)
	res := steps{w}.runBarrier(ctx, w.o.Group, tx, fresh, local)
	receipt.Resolution = res.Resolution
	switch res.Resolution {
	case holdfast.Rollback:
		w.broker.Settle(w.o.Group, tx.ID, holdfast.Rollback)
		return receipt, rolledBack(res.Err)
	case holdfast.Unknown:
		return receipt, undecided(tx.ID, res.Err)
	}
	receipt.Messages = res.Messages
	fault.Point(fault.CommitBeforePublish)
	if err := w.broker.PublishMessages(ctx, w.o.Group, tx.ID, res.Messages); err != nil {
		return receipt, fmt.Errorf("%w: transaction %s: %w", holdfast.ErrDeliveryPending, tx.ID, err)
	}
	fault.Point(fault.CommitAfterConfirm)
	w.broker.Settle(w.o.Group, tx.ID, holdfast.Commit)
	return receipt, nil
}
