package deadletters

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// The queue of dead letters is where everything ends that nobody handles. A policy
// of RabbitMQ's (message-ttl, max-length) can take messages out of it, too. What it
// takes goes to a queue of its own, from which every process puts it back: anew,
// since RabbitMQ drops what goes round by itself.

const (
	// expiredHold is how long a record is held before it is put back, and
	// expiredPrefetch how many are held at a time: together they bound how often a
	// process does that, however short a policy's message-ttl is.
	expiredHold     = time.Second
	expiredPrefetch = 200
	// expiredTold is how often it is told.
	expiredTold = 10 * time.Minute
)

// Expired tells that RabbitMQ took dead letters out of their queue.
type Expired struct {
	// Queue is the queue of dead letters, or that of oversized ones.
	Queue string
	// Why is what RabbitMQ says of the reason, in words.
	Why string
}

// PutBackExpired puts what RabbitMQ took out of the queue of dead letters back into it,
// until ctx is done.
func PutBackExpired(ctx context.Context, c *link.Client, topo *topology.Maker, told func(Expired)) error {
	e := &expiry{Pool: link.NewPool(ctx, c.Log, "expired dead letters"), c: c, topo: topo, told: told,
		last: map[string]time.Time{}, count: map[string]int{}}
	defer e.Cancel(nil)
	for e.mayNotRead(ctx, c.ExpiredQueue()) {
		e.Log.Info("this user may not read the queue of expired dead letters: others put them back", "queue",
			c.ExpiredQueue())
		if !link.Sleep(ctx, expiredTold) {
			return nil
		}
	}
	err := c.Subs.Resubscribe(ctx, e.Log, c.ExpiredQueue(), expiredPrefetch,
		func(ctx context.Context) error { return topo.Declare(ctx, topo.BaseSteps()) },
		func(ctx context.Context, s *link.Subscription) {
			e.Session(ctx, s, e.record)
			if ctx.Err() != nil {
				_ = e.Drain()
			}
		})
	return errors.Join(err, e.Drain())
}

// mayNotRead reports whether RabbitMQ refuses to let this user read a queue.
func (e *expiry) mayNotRead(ctx context.Context, queue string) bool {
	if e.topo.Declare(ctx, e.topo.BaseSteps()) != nil {
		return false
	}
	var ae *amqp.Error
	return errors.As(e.c.Subs.MayRead(ctx, queue), &ae) && ae.Code == amqp.AccessRefused
}

type expiry struct {
	*link.Pool
	c    *link.Client
	topo *topology.Maker
	told func(Expired)

	mu    sync.Mutex
	last  map[string]time.Time
	count map[string]int
}

// record puts one back.
func (e *expiry) record(gone context.Context, d *amqp.Delivery) {
	queue, why, was := wire.BeforeExpiry(e.c.Prefix, d)
	pause := link.NewBackoff()
	for wait := expiredHold; link.Sleep(gone, wait); wait = pause.NextBackOff() {
		err := e.putBack(queue, why, was)
		if err == nil {
			e.tell(queue, why)
			_ = d.Ack(false) // if it is lost, there is a copy with the same ID
			return
		}
		e.Log.Warn("an expired dead letter could not be put back yet", "message", d.MessageId, "error", err)
	}
	_ = d.Nack(false, true)
}

// putBack stores it anew, as it was, with why it went round.
func (e *expiry) putBack(queue, why string, d *amqp.Delivery) error {
	ctx, cancel := e.c.Timeout(e.Calls)
	defer cancel()
	if queue == e.c.OversizedQueue() {
		return publishOversized(ctx, e.c, wire.Again(d))
	}
	r := (&intake{c: e.c}).read(d)
	if r.Letter == nil {
		return e.c.PublishDead(ctx, wire.Again(d))
	}
	if note := "; " + why + ": it was put back"; !strings.Contains(r.Letter.Failure.Reason, note) {
		r.Letter.Failure.Reason = wire.Clip(r.Letter.Failure.Reason, wire.MaxReason-len(note)) + note
	}
	return toTail(ctx, e.c, d, r.Letter)
}

// tell says at most every ten minutes that a queue loses what is in it.
func (e *expiry) tell(queue, why string) {
	e.mu.Lock()
	e.count[queue]++
	n := e.count[queue]
	due := time.Since(e.last[queue]) >= expiredTold
	if due {
		e.last[queue], e.count[queue] = time.Now(), 0
	}
	e.mu.Unlock()
	if !due {
		return
	}
	e.Log.Error("dead letters leave their queue by a policy of RabbitMQ's, and are put back: change the policy",
		"queue", queue, "why", why, "put back", n)
	if e.told != nil {
		e.told(Expired{Queue: queue, Why: why})
	}
}
