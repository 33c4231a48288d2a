package consumer

import (
	"context"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// maxUnbegun is how long a fetched delivery waits for a worker before everything
// that was fetched ahead is given back: RabbitMQ's consumer_timeout would end
// the channel after 30 min, and another process may have a free worker.
const maxUnbegun = 2 * time.Minute

// session fetches as the circuit breaker allows and passes deliveries to the
// workers, until the channel is lost or ctx is done. Everything happens on one
// channel: closing it would give back what is being handled. What RabbitMQ sends
// just when the fetching ends, it takes back itself, and it comes again as
// redelivered.
func (c *Consumer) session(ctx context.Context, s *link.Subscription) {
	c.Gate.renew()
	s.Acks, s.Trust = link.NewAcker(s.Ch, c.patience.Gather, c.settle), c.Client.Trust()
	defer s.Acks.Window(0)
	wake := time.NewTimer(0)
	defer wake.Stop()
	look := time.NewTimer(0) // a process that was killed left something, perhaps
	defer look.Stop()
	for ctx.Err() == nil {
		state, fetches, until := c.Gate.mode()
		if prefetch := c.prefetch(state, fetches); s.Prefetch != prefetch {
			c.MoveBack(s.Halt()...)
			if prefetch > 0 && s.Consume(c.Queue, prefetch) != nil {
				return
			}
			s.Acks.Window(prefetch)
		}
		if s.Failed != nil {
			return
		}
		closes := s.Closes // otherwise deliveries is closed
		if s.Deliveries != nil {
			closes = nil
		}
		if until.IsZero() {
			wake.Stop()
		} else {
			wake.Reset(time.Until(until))
		}
		select {
		case d, ok := <-s.Deliveries:
			if !ok {
				return
			}
			s.Taken(&d)
			c.pass(ctx, s, Job{D: d, Ch: s.Ch, acks: s.Acks})
		case <-c.look:
			look.Reset(0)
		case <-look.C:
			look.Reset(c.suspects(ctx, s))
		case <-c.Gate.changed:
		case <-wake.C:
		case e := <-closes:
			if e != nil {
				s.Failed = e
			}
			return
		case <-ctx.Done():
		}
	}
	c.MoveBack(s.Halt()...)
}

// prefetch is how much is fetched: while the breaker is not closed, one message at a
// time or none.
func (c *Consumer) prefetch(state string, fetches bool) int {
	switch {
	case !fetches:
		return 0
	case state != wire.BreakerClosed:
		return 1
	}
	return c.O.Prefetch
}

// pass hands a delivery to a worker and reports whether it did. Otherwise it gave
// it back.
func (c *Consumer) pass(ctx context.Context, s *link.Subscription, j Job) bool {
	c.Begin()
	select {
	case c.jobs <- j:
		return true
	default:
	}
	c.stuck.Reset(c.patience.Unbegun)
	defer c.stuck.Stop()
	for {
		select {
		case c.jobs <- j:
			return true
		case <-c.Gate.changed:
			if !c.Gate.isShut() {
				continue // session looks at the state before it fetches more
			}
			c.MoveBack(j.Delivery())
		case <-ctx.Done():
			// Stopped first: an acknowledgement would bring a further delivery,
			// which the stop would make look as if it had been lost.
			c.MoveBack(append(s.Halt(), j.Delivery())...)
		case <-c.stuck.C:
			c.MoveBack(j.Delivery())
			c.relieve(ctx, s)
		}
		c.end()
		return false
	}
}

// relieve gives back what was fetched ahead, since no worker is free, and returns
// when one is.
func (c *Consumer) relieve(ctx context.Context, s *link.Subscription) {
	c.Log.Warn("all handlers have been busy for long: what was fetched ahead is given back until one returns", "after",
		c.patience.Unbegun, "handlers", c.O.Concurrency)
	c.MoveBack(s.Halt()...)
	select {
	case c.jobs <- Job{}:
	case <-ctx.Done():
	}
}
