package holdfasttest

import (
	"errors"
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
)

// lane is how the transaction of ms is coordinated: Express only if each message
// is.
func (k *Kit) lane(ms []holdfast.Message) holdfast.Lane {
	for _, m := range ms {
		if m.Lane == holdfast.Traced || m.Lane == "" && k.o.Lane != holdfast.Express {
			return holdfast.Traced
		}
	}
	return holdfast.Express
}

// express is a transaction in the Express lane: no workflow, unless it stays
// undecided or undelivered.
func (p *transaction) express(tx activities.Tx, fresh bool, sent *Sent) {
	p.k.t.Helper()
	ctx, group := p.k.t.Context(), p.k.o.Group
	if !fresh {
		if _, err := barrier.Read(ctx, p.k.o.DB, tx.ID); err == nil {
			sent.Err = fmt.Errorf("%w: transaction %s has an outcome row: use a new ID for new work",
				holdfast.ErrDuplicate, tx.ID)
			return
		} else if !errors.Is(err, holdfast.ErrNotFound) {
			p.k.t.Fatal(err)
		}
	}
	half := holdfast.Half{TxID: tx.ID, Group: group, Messages: tx.Messages, At: time.Now(), Lane: holdfast.Express}
	if err := p.PublishHalf(ctx, half); err != nil {
		sent.Receipt.Resolution, sent.Err = holdfast.Rollback, fmt.Errorf("%w: %w", holdfast.ErrNotStored, err)
		return
	}
	res := p.RunLocal(ctx, group, tx)
	ms := tx.Messages
	if len(res.Messages) > 0 {
		ms = res.Messages
	}
	switch res.Resolution {
	case holdfast.Rollback:
		p.k.broker.Settle(group, tx.ID, holdfast.Rollback)
		sent.Receipt.Resolution, sent.Err = holdfast.Rollback, fmt.Errorf("%w: %w", holdfast.ErrRolledBack, p.err)
		return
	case holdfast.Commit:
		if p.PublishMessages(ctx, group, tx.ID, ms) == nil {
			p.k.broker.Settle(group, tx.ID, holdfast.Commit)
			sent.Receipt.Resolution = holdfast.Commit
			return
		}
	}
	// What is left, the Keeper hands over.
	tx.Form, tx.Why = activities.HandedOver, "the Keeper held its half message without an op record"
	p.workflow(tx, sent)
}
