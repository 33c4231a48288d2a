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
	if len(ms) == 0 {
		return w.o.Lane // it is refused in either
	}
	for i := range ms {
		lane := ms[i].Lane
		if lane == "" {
			lane = w.o.Lanes[ms[i].Topic]
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
func (w *Worker) express(ctx context.Context, tx activities.Tx, ms []holdfast.Message, local LocalAll) (holdfast.Receipt, error) {
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	p, receipt, err := w.admitExpress(ctx, &tx, ms)
	if err != nil {
		return receipt, err
	}
	defer w.sending.Done()
	if err := w.storeHalf(ctx, p, tx); err != nil {
		if p == nil {
			receipt.Resolution = holdfast.Rollback
		}
		return receipt, err
	}
	fault.Point(fault.HalfAfterConfirm)
	if p != nil {
		defer func() { w.pendings.end(p, time.Now()) }()
	}
	// Nothing but the outcome row tells one call with a chosen ID from another, in
	// another process: it keeps the messages of the one that commits.
	res := w.runHere(ctx, barrier.Local{TxID: tx.ID, Group: w.o.Group, Messages: tx.Messages, Fresh: p == nil, Keep: p != nil,
		MaxBody: w.o.MaxBody, Fits: w.fits(tx.ID)}, local)
	switch {
	case res.Repeated: // its sender may not have come to the end: nothing is settled
		return receipt, fmt.Errorf("%w: transaction %s was committed by another call meanwhile", holdfast.ErrDuplicate, tx.ID)
	case res.Resolution == holdfast.Rollback:
		if p == nil {
			w.usedUp(tx.ID)
		}
		receipt.Resolution = holdfast.Rollback
		w.broker.Settle(w.o.Group, tx.ID, holdfast.Rollback)
		return receipt, rolledBack(res.Err)
	case res.Resolution != holdfast.Commit:
		return receipt, undecided(tx.ID, res.Err)
	}
	fault.Point(fault.CommitBeforePublish)
	return w.deliver(ctx, receipt, res.Messages)
}

// fits says whether messages of transaction txID could be published.
func (w *Worker) fits(txID string) func([]holdfast.Message) error {
	return func(ms []holdfast.Message) error { return w.broker.Fits(w.o.Group, txID, ms) }
}

// runHere runs a local transaction in the caller's goroutine.
func (w *Worker) runHere(ctx context.Context, l barrier.Local, local LocalAll) barrier.Result {
	ctx, cancel := context.WithTimeout(ctx, w.o.LocalTimeout)
	defer cancel()
	return barrier.Run(ctx, w.o.DB, l, local)
}

// admitExpress checks the transaction and gives it its ID, waits until sending can
// begin, and refuses an ID that was used before. The caller is counted in w.sending
// where err is nil. p is nil where the ID was made for this call.
func (w *Worker) admitExpress(ctx context.Context, tx *activities.Tx, ms []holdfast.Message) (p *pending, receipt holdfast.Receipt, err error) {
	if receipt, err = w.identify(tx, ms); err != nil {
		return nil, receipt, err
	}
	if err = w.enter(ctx); err != nil {
		return nil, receipt, err
	}
	tx.Database = w.databaseOf(ms)
	if ms[0].ID == "" {
		return nil, receipt, nil
	}
	p = newPending(ctx, tx.ID, false, nil)
	if err = w.pendings.add(p); err == nil {
		if err = w.unused(ctx, tx.ID); err == nil {
			return p, receipt, nil
		}
		w.pendings.forget(p)
	}
	w.sending.Done()
	return nil, receipt, err
}

// unused refuses an ID that has an outcome row.
func (w *Worker) unused(ctx context.Context, txID string) error {
	if w.o.DB == nil { // the split form with a Checker, who knows nothing yet
		return nil
	}
	_, err := barrier.Read(ctx, w.o.DB, txID)
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("%w: whether %s is new could not be found out: %w", holdfast.ErrNotStored, txID, err)
	}
	return fmt.Errorf("%w: transaction %s has an outcome row: use a new ID for new work", holdfast.ErrDuplicate, txID)
}

// usedUp keeps the ID of a transaction that rolled back, and leaves no outcome row,
// from being chosen for another one: the op record that is on its way would settle
// that one's half message.
func (w *Worker) usedUp(txID string) {
	p := newPending(context.Background(), txID, true, nil)
	if w.pendings.add(p) == nil {
		w.pendings.end(p, time.Now())
	}
}

// storeHalf stores the half message of tx. Where that fails, nothing is run, and
// the ID can be used again.
func (w *Worker) storeHalf(ctx context.Context, p *pending, tx activities.Tx) error {
	half := holdfast.Half{TxID: tx.ID, Group: w.o.Group, Messages: tx.Messages, At: time.Now(), Lane: holdfast.Express, Database: tx.Database}
	err := w.broker.PublishHalf(ctx, half)
	if err == nil {
		return nil
	}
	if p != nil {
		w.pendings.forget(p)
	}
	return fmt.Errorf("%w: %w", holdfast.ErrNotStored, err)
}

// deliver publishes the messages of a committed transaction, and then writes its op
// record. Where the caller does not wait for that, it goes on, at least for as long
// as nobody else would do it.
func (w *Worker) deliver(ctx context.Context, receipt holdfast.Receipt, ms []holdfast.Message) (holdfast.Receipt, error) {
	receipt.Resolution, receipt.Messages = holdfast.Commit, ms
	until := time.Now().Add(w.o.CheckAfter)
	if deadline, has := ctx.Deadline(); has && deadline.After(until) {
		until = deadline
	}
	published := make(chan error, 1)
	w.sending.Go(func() {
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
		defer cancel()
		err := w.broker.PublishMessages(ctx, w.o.Group, receipt.TxID, ms)
		if err == nil {
			fault.Point(fault.CommitAfterConfirm)
			w.broker.Settle(w.o.Group, receipt.TxID, holdfast.Commit)
		}
		published <- err
	})
	var err error
	select {
	case err = <-published:
	case <-ctx.Done():
		select {
		case err = <-published: // just in time
		default:
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: transaction %s: %w", holdfast.ErrDeliveryPending, receipt.TxID, err)
	}
	return receipt, err
}
