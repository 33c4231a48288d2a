package lanes

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

// express is a transaction in the Express lane: half message, local transaction,
// messages, op record, in the caller's goroutine. Whatever it does not come to,
// the Keeper hands over.
func (l *Lanes) express(ctx context.Context, tx activities.Tx, ms []holdfast.Message,
	local Local) (holdfast.Receipt, error) {
	ctx, cancel := l.Bounded(ctx)
	defer cancel()
	p, receipt, err := l.admitExpress(ctx, &tx, ms)
	if err != nil {
		return receipt, err
	}
	defer l.gate.Leave()
	c := &pendingCore{id: tx.ID, form: tx.Form, fresh: p == nil, express: true}
	if err := l.storeHalf(ctx, p, tx); err != nil {
		c.onNotStored(err)
		return c.told(receipt)
	}
	fault.Point(fault.HalfAfterConfirm)
	if p != nil {
		defer func() { l.pendings.end(p, time.Now()) }()
	}
	c.onTurn()
	// Nothing but the outcome row tells one call with a chosen ID from another, in
	// another process: it keeps the messages of the one that commits.
	res := l.runHere(ctx, barrier.Local{TxID: tx.ID, Group: l.Group, Messages: tx.Messages,
		Fresh: p == nil, Keep: p != nil, MaxBody: l.MaxBody, Fits: l.Fits(tx.ID)}, local)
	if c.onLocal(res, tx.Messages).answer {
		if c.known.resolution == holdfast.Rollback {
			if p == nil {
				l.usedUp(tx.ID)
			}
			l.broker.Settle(l.Group, tx.ID, holdfast.Rollback)
		}
		return c.told(receipt)
	}
	fault.Point(fault.CommitBeforePublish)
	return l.deliver(ctx, c, receipt)
}

// Fits says whether messages of transaction txID could be published.
func (l *Lanes) Fits(txID string) func([]holdfast.Message) error {
	return func(ms []holdfast.Message) error { return l.broker.Fits(l.Group, txID, ms) }
}

// runHere runs a local transaction in the caller's goroutine.
func (l *Lanes) runHere(ctx context.Context, tx barrier.Local, local Local) barrier.Result {
	ctx, cancel := context.WithTimeout(ctx, l.LocalTimeout)
	defer cancel()
	return l.barrier.Run(ctx, tx, local)
}

// admitExpress checks the transaction and gives it its ID, waits until sending can
// begin, and refuses an ID that was used before. The caller is counted in l.sending
// where err is nil. p is nil where the ID was made for this call.
func (l *Lanes) admitExpress(ctx context.Context, tx *activities.Tx,
	ms []holdfast.Message) (p *Pending, receipt holdfast.Receipt, err error) {
	if receipt, err = l.identify(ctx, tx, ms); err != nil {
		return nil, receipt, err
	}
	if err = l.gate.Enter(ctx); err != nil {
		return nil, receipt, err
	}
	tx.Database = l.DatabaseOf(ms)
	if ms[0].ID == "" {
		return nil, receipt, nil
	}
	p = newPending(ctx, tx.ID, tx.Form, false, nil)
	if err = l.pendings.add(p); err == nil {
		if err = l.unused(ctx, tx.ID); err == nil {
			return p, receipt, nil
		}
		l.pendings.forget(p)
	}
	l.gate.Leave()
	return nil, receipt, err
}

// unused refuses an ID that has an outcome row.
func (l *Lanes) unused(ctx context.Context, txID string) error {
	if l.barrier == nil { // the split form with a Checker, who knows nothing yet
		return nil
	}
	_, err := l.barrier.Read(ctx, txID)
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
func (l *Lanes) usedUp(txID string) {
	p := newPending(context.Background(), txID, "", true, nil)
	if l.pendings.add(p) == nil {
		l.pendings.end(p, time.Now())
	}
}

// storeHalf stores the half message of tx. Where that fails, nothing is run, and
// the ID can be used again.
func (l *Lanes) storeHalf(ctx context.Context, p *Pending, tx activities.Tx) error {
	half := holdfast.Half{TxID: tx.ID, Group: l.Group, Messages: tx.Messages, At: time.Now(), Lane: holdfast.Express,
		Database: tx.Database}
	err := l.broker.PublishHalf(ctx, half)
	if err == nil {
		return nil
	}
	if p != nil {
		l.pendings.forget(p)
	}
	return err
}

// deliver publishes the messages of a committed transaction, and then writes its op
// record. Where the caller does not wait for that, it goes on, at least for as long
// as nobody else would do it.
func (l *Lanes) deliver(ctx context.Context, c *pendingCore, receipt holdfast.Receipt) (holdfast.Receipt, error) {
	ms, until := c.known.messages, time.Now().Add(l.CheckAfter)
	if deadline, has := ctx.Deadline(); has && deadline.After(until) {
		until = deadline
	}
	published := make(chan error, 1)
	l.gate.Go(func() {
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
		defer cancel()
		err := l.broker.PublishMessages(ctx, l.Group, receipt.TxID, ms)
		if err == nil {
			fault.Point(fault.CommitAfterConfirm)
			l.broker.Settle(l.Group, receipt.TxID, holdfast.Commit)
		}
		published <- err
	})
	select {
	case err := <-published:
		c.onPublished(ms, err)
	case <-ctx.Done():
		select {
		case err := <-published: // just in time
			c.onPublished(ms, err)
		default:
			return c.onLeave(context.Cause(ctx), receipt)
		}
	}
	return c.told(receipt)
}
