package consumer

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
)

// A message that was lost twice in a row may be what kills its process, or may
// have been near one that does. RabbitMQ says of both that they were delivered
// before. So it goes to a queue of its own kind, from which a process takes it
// only while it holds nothing else: if it is lost from there, then by itself. A
// message dies of losses only there. That it is always its turn in the end needs
// no order: whatever returns is no suspect any more.

const (
	// LookEvery is how often a process looks for suspects.
	lookEvery = 5 * time.Second
	// lookAfterBusy is when it looks again if its handlers did not come to rest.
	lookAfterBusy = 10 * time.Minute
	// maxVisit is how many suspects are tried before others have their turn.
	maxVisit = 20
)

// home is the queue in which a message waits that was lost so often.
func (c *Consumer) home(lost int) string {
	if lost >= suspectAt {
		return c.Client.AloneQueue(c.O.Name)
	}
	return c.Queue
}

// lookSoon has the session look for suspects.
func (c *Consumer) lookSoon() {
	select {
	case c.look <- struct{}{}:
	default:
	}
}

// restLimit is how long suspects wait for the running handlers to return: those
// that heed their time limit do, or suspects would wait for ever where handlers
// are slow.
func (o Subscription) restLimit() time.Duration { return o.HandlerTimeout + link.AbandonAfter }

// suspects tries suspects, if there are any, and returns when to look again. One
// may be the probe of the circuit breaker: there may be no other message.
func (c *Consumer) suspects(ctx context.Context, s *link.Subscription) (next time.Duration) {
	if c.Gate.isShut() {
		return c.patience.LookEvery
	}
	queue := c.home(suspectAt)
	q, err := s.Ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		s.Failed = err // the channel is lost with it
		return c.patience.LookEvery
	}
	if q.Messages == 0 {
		return c.patience.LookEvery
	}
	c.MoveBack(s.Halt()...)
	if limit := c.O.restLimit(); !c.rest(ctx, limit) {
		if ctx.Err() == nil {
			c.Log.Warn("a message that was lost several times has to wait: handlers are still busy", "after", limit)
		}
		return lookAfterBusy
	}
	c.Log.Info("messages that were lost several times are tried alone", "messages", q.Messages)
	for range maxVisit {
		if c.Gate.mode(); c.Gate.isShut() || ctx.Err() != nil {
			return c.patience.LookEvery
		}
		d, ok, err := s.Ch.Get(queue, false)
		if err != nil {
			s.Failed = err
			return c.patience.LookEvery
		}
		if !ok {
			return c.patience.LookEvery
		}
		if !c.alone(ctx, s, d) {
			return lookAfterBusy
		}
	}
	return c.patience.LookEvery
}

// alone has one delivery tried while there is no other, and reports whether its
// handler returned. One that ignores its context must not hold up the others for
// ever.
func (c *Consumer) alone(ctx context.Context, s *link.Subscription, d amqp.Delivery) bool {
	through := make(chan struct{})
	s.Taken(&d)
	if !c.pass(ctx, s, Job{D: d, Ch: s.Ch, acks: s.Acks, Alone: true, done: through}) {
		return true
	}
	limit := time.NewTimer(time.Duration(c.O.Tries)*c.O.HandlerTimeout + link.AbandonAfter)
	defer limit.Stop()
	select {
	case <-through:
		return true
	case <-limit.C:
		c.Gate.renew() // if it was a probe, another may be one
	case <-ctx.Done():
	}
	return false
}

// rest waits until no handler runs, and reports whether that came.
func (c *Consumer) rest(ctx context.Context, limit time.Duration) bool {
	c.mu.Lock()
	if c.running == 0 {
		c.mu.Unlock()
		return true
	}
	idle := make(chan struct{})
	c.idle = idle
	c.mu.Unlock()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-idle:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}
