package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
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
	// PutBack counts those that this process has put back since it was last told.
	PutBack int
}

// protected is a queue from which what RabbitMQ takes out goes to the queue of
// expired ones.
func (t *topology) protected() amqp.Table {
	args := quorum()
	args["x-dead-letter-exchange"] = t.b.ExpiredQueue()
	args["x-dead-letter-strategy"] = "at-least-once"
	args["x-overflow"] = "reject-publish"
	return args
}

// protectedStep declares a queue as protected, unless an older version of Holdfast
// has made it without that, or must be able to declare it: queues cannot be changed.
func (t *topology) protectedStep(name string) step {
	as := map[bool]step{false: queueStep(name, t.protected()), true: queueStep(name, quorum())}
	return step{what: as[false].what, of: name, there: as[false].there, do: func(ch *amqp.Channel, _ bool) error {
		t.mu.Lock()
		found, known := t.unprotected[name]
		t.mu.Unlock()
		if !known {
			found = t.b.c.Rolling
		}
		err := as[found].do(ch, false)
		var ae *amqp.Error
		if known || !errors.As(err, &ae) || ae.Code != amqp.PreconditionFailed {
			return err
		}
		t.mu.Lock()
		t.unprotected[name] = !found
		t.mu.Unlock()
		return errAgain // the channel is closed
	}}
}

// errAgain says that a step is to be carried out once more, on another channel.
var errAgain = errors.New("holdfast: once more")

// deadSteps make the queue of dead letters and what belongs to it.
func (t *topology) deadSteps() []step {
	dead, expired := t.b.DeadQueue(), t.b.ExpiredQueue()
	return []step{
		queueStep(expired, quorum()), exchangeStep(expired, amqp.ExchangeFanout, nil), bindStep(expired, "", expired),
		t.protectedStep(dead), exchangeStep(dead, amqp.ExchangeFanout, nil), bindStep(dead, "", dead),
		t.protectedStep(t.b.OversizedQueue()), bindStep(t.b.OversizedQueue(), t.b.OversizedQueue(),
			t.b.QueuesExchange()),
	}
}

// Unprotected are those of the queues of dead letters that an older version of
// Holdfast has made, so that what a policy takes out of them is lost.
func (b *Broker) Unprotected(ctx context.Context) ([]string, error) {
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	conn, err := b.c.Consuming.Get(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range []string{b.DeadQueue(), b.OversizedQueue()} {
		there, err := b.c.Calls.Exists(ctx, conn, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			return err
		})
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		err = b.c.Calls.OnChannel(ctx, conn,
			func(ch *amqp.Channel) error { return queueStep(name, b.topo.protected()).do(ch, false) })
		var ae *amqp.Error
		switch {
		case errors.As(err, &ae) && ae.Code == amqp.PreconditionFailed:
			out = append(out, name)
		case err != nil:
			return out, err
		}
	}
	return out, nil
}

// ConsumeExpired puts what RabbitMQ took out of the queue of dead letters back into
// it, until ctx is done, and then returns nil. Any number of processes may do so.
// told is called, now and then, where there was something to put back; it must
// return at once. An error means a queue that exists with other arguments, or a
// closed Broker.
func (b *Broker) ConsumeExpired(ctx context.Context, told func(Expired)) error {
	e := &expiry{Pool: link.NewPool(ctx, b.c.Log, "expired dead letters"), b: b, told: told,
		last: map[string]time.Time{}, count: map[string]int{}}
	defer e.Cancel(nil)
	for b.mayNotRead(ctx, b.ExpiredQueue()) {
		e.Log.Info("this user may not read the queue of expired dead letters: others put them back", "queue",
			b.ExpiredQueue())
		if !link.Sleep(ctx, expiredTold) {
			return nil
		}
	}
	err := b.c.Subs.Resubscribe(ctx, e.Log, b.ExpiredQueue(), expiredPrefetch,
		func(ctx context.Context) error { return b.declare(ctx, b.topo.baseSteps()) },
		func(ctx context.Context, s *link.Subscription) {
			e.Session(ctx, s, e.record)
			if ctx.Err() != nil {
				_ = e.Drain()
			}
		})
	return errors.Join(err, e.Drain())
}

// mayNotRead reports whether RabbitMQ refuses to let this user read a queue.
func (b *Broker) mayNotRead(ctx context.Context, queue string) bool {
	if b.declare(ctx, b.topo.baseSteps()) != nil {
		return false
	}
	var ae *amqp.Error
	return errors.As(b.mayRead(ctx, queue), &ae) && ae.Code == amqp.AccessRefused
}

type expiry struct {
	*link.Pool
	b    *Broker
	told func(Expired)

	mu    sync.Mutex
	last  map[string]time.Time
	count map[string]int
}

// record puts one back.
func (e *expiry) record(gone context.Context, d *amqp.Delivery) {
	queue, why, was := wire.BeforeExpiry(e.b.o.Prefix, d)
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
	ctx, cancel := e.b.c.Timeout(e.Calls)
	defer cancel()
	if queue == e.b.OversizedQueue() {
		return e.b.publishOversized(ctx, wire.Again(d))
	}
	r := (&intake{b: e.b}).read(d)
	if r.Letter == nil {
		return e.b.c.PublishDead(ctx, wire.Again(d))
	}
	if note := "; " + why + ": it was put back"; !strings.Contains(r.Letter.Failure.Reason, note) {
		r.Letter.Failure.Reason = wire.Clip(r.Letter.Failure.Reason, wire.MaxReason-len(note)) + note
	}
	return e.b.toTail(ctx, d, r.Letter)
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
		e.told(Expired{Queue: queue, Why: why, PutBack: n})
	}
}

// publishOversized stores a whole message in the queue of oversized ones.
func (b *Broker) publishOversized(ctx context.Context, msg amqp.Publishing) error {
	wire.Squeeze(&msg, b.c.Publishing.Limits().Room())
	p := link.Publication{Exchange: b.QueuesExchange(), Key: b.OversizedQueue(), Mandatory: true, Repair: true,
		Old: b.c.Rolling, Msg: msg}
	if err := b.c.Pub.One(ctx, &p, ""); err != nil {
		return fmt.Errorf("%w: in %s", err, b.OversizedQueue())
	}
	return nil
}
