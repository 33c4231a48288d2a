package lanes

import (
	"context"
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// expressSplit is what is known of a split transaction that has no workflow.
type expressSplit struct {
	mu        sync.Mutex
	confirmed holdfast.Resolution
	delivered bool
}

// confirm notes the second confirmation. The first one counts; done says that
// nothing is left to do.
func (e *expressSplit) confirm(r holdfast.Resolution) (done bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.confirmed != holdfast.Unknown && e.confirmed != r {
		return false, fmt.Errorf("%w: %s was confirmed before", holdfast.ErrAlreadyResolved, e.confirmed)
	}
	e.confirmed = r
	return e.delivered, nil
}

func (e *expressSplit) setDelivered() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.delivered = true
}

// beginExpress is Begin in the Express lane: the half message, and no workflow.
func (l *Lanes) beginExpress(ctx context.Context, ms []holdfast.Message) (*Split, error) {
	ctx, cancel := l.Bounded(ctx)
	defer cancel()
	tx := activities.Tx{Form: activities.Split}
	p, receipt, err := l.admitExpress(ctx, &tx, ms)
	if err != nil {
		return nil, err
	}
	defer l.gate.Leave()
	if err := l.storeHalf(ctx, p, tx); err != nil {
		return nil, err
	}
	if p != nil {
		l.pendings.end(p, time.Now())
	}
	return &Split{l: l, messages: tx.Messages, chosen: p != nil, receipt: receipt, express: &expressSplit{}}, nil
}

// confirmExpress carries the second confirmation out. Where the outcome row has
// proven it, it holds even if this process ends: a check-back will find it.
func (s *Split) confirmExpress(ctx context.Context, c transactions.Confirmation,
	proven bool) (holdfast.Receipt, error) {
	done, err := s.express.confirm(c.Resolution)
	if err != nil {
		return s.receipt, fmt.Errorf("transaction %s: %w", s.ID(), err)
	}
	receipt := s.receipt
	if err := s.l.gate.Enter(ctx); err != nil {
		switch {
		case !proven:
			return receipt, undecided(s.ID(), err)
		case c.Resolution == holdfast.Commit:
			err = fmt.Errorf("%w: transaction %s: %w", holdfast.ErrDeliveryPending, s.ID(), err)
		default:
			err = nil
		}
		receipt.Resolution = c.Resolution
		return receipt, err
	}
	defer s.l.gate.Leave()
	if c.Resolution == holdfast.Rollback {
		if !proven { // it leaves no outcome row
			s.l.usedUp(s.ID())
		}
		receipt.Resolution = holdfast.Rollback
		s.l.broker.Settle(s.l.Group, s.ID(), holdfast.Rollback)
		return receipt, nil
	}
	ms := s.messages
	if len(c.Messages) > 0 {
		ms = c.Messages
	}
	if done {
		receipt.Resolution, receipt.Messages = holdfast.Commit, ms
		return receipt, nil
	}
	if receipt, err = s.l.deliver(ctx, receipt, ms); err == nil {
		s.express.setDelivered()
	}
	return receipt, err
}
