package broker

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
func (c *consumer) session(ctx context.Context, s *link.Subscription) {
	c.gate.renew()
	s.Acks, s.Trust = link.NewAcker(s.Ch, c.patience.gather, c.settle), c.Client.Trust()
	defer s.Acks.Window(0)
	wake := time.NewTimer(0)
	defer wake.Stop()
	look := time.NewTimer(0) // a process that was killed left something, perhaps
	defer look.Stop()
	for ctx.Err() == nil {
		state, fetches, until := c.gate.mode()
		if prefetch := c.prefetch(state, fetches); s.Prefetch != prefetch {
			c.moveBack(s.Halt()...)
			if prefetch > 0 && s.Consume(c.queue, prefetch) != nil {
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
			c.pass(ctx, s, job{d: d, ch: s.Ch, acks: s.Acks})
		case <-c.look:
			look.Reset(0)
		case <-look.C:
			look.Reset(c.suspects(ctx, s, state))
		case <-c.gate.changed:
		case <-wake.C:
		case e := <-closes:
			if e != nil {
				s.Failed = e
			}
			return
		case <-ctx.Done():
		}
	}
	c.moveBack(s.Halt()...)
}

// prefetch is how much is fetched: while the breaker is not closed, one message at a
// time or none.
func (c *consumer) prefetch(state string, fetches bool) int {
	switch {
	case !fetches:
		return 0
	case state != wire.BreakerClosed:
		return 1
	}
	return c.o.Prefetch
}

// pass hands a delivery to a worker and reports whether it did. Otherwise it gave
// it back.
func (c *consumer) pass(ctx context.Context, s *link.Subscription, j job) bool {
	c.begin()
	select {
	case c.jobs <- j:
		return true
	default:
	}
	c.stuck.Reset(c.patience.unbegun)
	defer c.stuck.Stop()
	for {
		select {
		case c.jobs <- j:
			return true
		case <-c.gate.changed:
			if !c.gate.isOpen() {
				continue // session looks at the state before it fetches more
			}
			c.moveBack(j.delivery())
		case <-ctx.Done():
			// Stopped first: an acknowledgement would bring a further delivery,
			// which the stop would make look as if it had been lost.
			c.moveBack(append(s.Halt(), j.delivery())...)
		case <-c.stuck.C:
			c.moveBack(j.delivery())
			c.relieve(ctx, s)
		}
		c.end()
		return false
	}
}

// relieve gives back what was fetched ahead, since no worker is free, and returns
// when one is.
func (c *consumer) relieve(ctx context.Context, s *link.Subscription) {
	c.log.Warn("all handlers have been busy for long: what was fetched ahead is given back until one returns", "after", c.patience.unbegun, "handlers", c.o.Concurrency)
	c.moveBack(s.Halt()...)
	select {
	case c.jobs <- job{}:
	case <-ctx.Done():
	}
}
