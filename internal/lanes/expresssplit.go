package lanes

import (
	"context"
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
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
		return nil, fmt.Errorf("%w: %w", holdfast.ErrNotStored, err)
	}
	if p != nil {
		l.pendings.end(p, time.Now())
	}
	return &Split{l: l, messages: tx.Messages, chosen: p != nil, receipt: receipt, express: &expressSplit{}}, nil
}

// confirmExpress carries the second confirmation out. Where the outcome row has
// proven it, it holds even if this process ends: a check-back will find it.
func (s *Split) confirmExpress(ctx context.Context, c *pendingCore, r holdfast.Resolution, ms []holdfast.Message,
	proven bool) (holdfast.Receipt, error) {
	done, err := s.express.confirm(r)
	if err != nil {
		return s.receipt, fmt.Errorf("transaction %s: %w", s.ID(), err)
	}
	if err := s.l.gate.Enter(ctx); err != nil {
		return c.onLeave(err, s.receipt)
	}
	defer s.l.gate.Leave()
	c.onConfirmed(r, ms, true)
	if r == holdfast.Rollback {
		if !proven { // it leaves no outcome row
			s.l.usedUp(s.ID())
		}
		s.l.broker.Settle(s.l.Group, s.ID(), holdfast.Rollback)
		done = true
	}
	if done {
		c.onSettled()
		return c.told(s.receipt)
	}
	receipt, err := s.l.deliver(ctx, c, s.receipt)
	if err == nil {
		s.express.setDelivered()
	}
	return receipt, err
}
