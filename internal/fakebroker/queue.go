package fakebroker

import (
	"context"
	"errors"
	"slices"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/guard"
)

// queue is a queue, and whoever consumes it.
type queue struct {
	name    string
	topics  []string
	waiting []waiting
	sub     *broker.Subscription                          // of a consumer's queue
	replies func(context.Context, broker.SagaReply) error // of a queue of replies
	more    chan struct{}                                 // has a token when something was put in
}

// waiting is a delivery or a reply in a queue.
type waiting struct {
	delivery broker.Delivery
	reply    *broker.SagaReply
	expires  time.Time // zero: never
}

// put is called with the server's lock.
func (q *queue) put(w waiting) {
	q.waiting = append(q.waiting, w)
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// declare returns the queue of that name, made if need be, with these topics
// among its own.
func (s *Server) declare(name string, topics ...string) *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.find(name)
	if q == nil {
		q = &queue{name: name, more: make(chan struct{}, 1)}
		s.queues = append(s.queues, q)
	}
	for _, topic := range topics {
		if !slices.Contains(q.topics, topic) {
			q.topics = append(q.topics, topic)
		}
	}
	return q
}

// find is called with the lock.
func (s *Server) find(name string) *queue {
	for _, q := range s.queues {
		if q.name == name {
			return q
		}
	}
	return nil
}

func (s *Server) remove(q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues = slices.DeleteFunc(s.queues, func(x *queue) bool { return x == q })
}

// expire makes a dead letter of what waited for longer than its time to live, as RabbitMQ
// does: no policy of a consumer's counts. It is called with the lock.
func (s *Server) expire(q *queue) {
	now := time.Now()
	q.waiting = slices.DeleteFunc(q.waiting, func(w waiting) bool {
		if w.expires.IsZero() || now.Before(w.expires) {
			return false
		}
		f := holdfast.Failure{At: now, Class: holdfast.ClassDropped,
			Reason: "the broker dropped it from " + q.name + " because it waited there longer than its time to live"}
		if q.sub != nil {
			f.Consumer = q.sub.Name
		}
		d := w.delivery
		s.dead = append(s.dead, holdfast.DeadLetter{ID: d.Message.ID, Queue: q.name, Group: d.Group, TxID: d.TxID,
			Message: d.Message, Failure: f, Size: len(d.Message.Body)})
		return true
	})
}

// take returns the oldest that waits in q.
func (s *Server) take(q *queue) (w waiting, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(q)
	if len(q.waiting) == 0 {
		return w, false
	}
	w = q.waiting[0]
	q.waiting = q.waiting[1:]
	return w, true
}

// Subscribe declares a consumer's queue, to be served by [Broker.Deliver].
func (b *Broker) Subscribe(o broker.Subscription) {
	b.subscribe(o)
}

func (b *Broker) subscribe(o broker.Subscription) *queue {
	if o.Tries == 0 {
		o.Tries = 3
	}
	if o.Ladder == nil {
		o.Ladder = broker.DefaultLadder()
	}
	if o.HandlerTimeout == 0 {
		o.HandlerTimeout = time.Minute
	}
	q := b.s.declare(b.prefix+".q."+o.Name, o.Topics...)
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	q.sub = &o
	return q
}

// SubscribeReplies declares the two queues of the replies to a group's sagas, to
// be served by [Broker.Deliver].
func (b *Broker) SubscribeReplies(group string, handle func(context.Context, broker.SagaReply) error) {
	b.subscribeReplies(group, handle)
}

func (b *Broker) subscribeReplies(group string,
	handle func(context.Context, broker.SagaReply) error) (shared, own *queue) {
	shared, own = b.s.declare(b.ReplyQueue(group)), b.s.declare(b.InstanceReplyQueue(group))
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	shared.replies, own.replies = handle, handle
	return shared, own
}

// Deliver delivers what waits in any queue, and what that brings about, until
// nothing is left to be delivered.
func (b *Broker) Deliver(ctx context.Context) {
	for ctx.Err() == nil {
		served := false
		for _, q := range b.s.served() {
			if w, ok := b.s.take(q); ok {
				b.serve(ctx, q, w)
				served = true
				break // the first queue first
			}
		}
		if !served {
			return
		}
	}
}

func (s *Server) served() []*queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*queue
	for _, q := range s.queues {
		if q.sub != nil || q.replies != nil {
			out = append(out, q)
		}
	}
	return out
}

// Consume delivers to one consumer until ctx is done.
func (b *Broker) Consume(ctx context.Context, o broker.Subscription) error {
	b.loop(ctx, b.subscribe(o))
	return nil
}

// ConsumeReplies delivers the replies to a group's sagas until ctx is done. This
// process's own queue ends with it.
func (b *Broker) ConsumeReplies(ctx context.Context, group string,
	handle func(context.Context, broker.SagaReply) error) error {
	shared, own := b.subscribeReplies(group, handle)
	defer b.s.remove(own)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.loop(ctx, shared)
	}()
	b.loop(ctx, own)
	<-done
	return nil
}

func (b *Broker) loop(ctx context.Context, q *queue) {
	for ctx.Err() == nil {
		if w, ok := b.s.take(q); ok {
			b.serve(ctx, q, w)
			continue
		}
		select {
		case <-q.more:
		case <-ctx.Done():
		}
	}
}

// serve brings what was taken to its end, or puts it back.
func (b *Broker) serve(ctx context.Context, q *queue, w waiting) {
	if w.reply != nil {
		if err := guard.Call(func() error { return q.replies(ctx, *w.reply) }); err != nil {
			b.s.mu.Lock()
			defer b.s.mu.Unlock()
			q.put(w)
		}
		return
	}
	b.try(ctx, q, w.delivery)
}

// try tries a delivery as often as its subscription says.
func (b *Broker) try(ctx context.Context, q *queue, d broker.Delivery) {
	f, ended := b.attempt(ctx, q, d)
	switch {
	case ended && f != nil:
		d.Attempt = f.Attempts
		b.giveUp(ctx, q, d, *f)
	case !ended:
		b.s.mu.Lock()
		defer b.s.mu.Unlock()
		q.put(waiting{delivery: d}) // interrupted
	}
}

// attempt tries a delivery until it is handled, which is no failure, or given up.
// It has not ended where ctx is done before.
func (b *Broker) attempt(ctx context.Context, q *queue, d broker.Delivery) (failure *holdfast.Failure, ended bool) {
	f := holdfast.Failure{Consumer: q.sub.Name, Redelivery: d.Redelivery}
	most := q.sub.Tries
	if d.Redelivery == 0 { // else an operator waits
		most += len(q.sub.Ladder)
	}
	for d.Attempt = 1; ; d.Attempt++ {
		err := b.once(ctx, q.sub, d)
		if err == nil {
			return nil, true
		}
		f.At, f.Attempts, f.Reason, f.Class = time.Now(), d.Attempt, err.Error(), classOf(err)
		f.Log = append(f.Log, holdfast.Attempt{N: d.Attempt, At: f.At, Class: f.Class, Error: f.Reason})
		if f.Class == holdfast.ClassPermanent || f.Class == holdfast.ClassMalformed || d.Attempt >= most {
			return &f, true
		}
		if ctx.Err() != nil {
			return nil, false
		}
	}
}

func (b *Broker) once(ctx context.Context, o *broker.Subscription, d broker.Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, o.HandlerTimeout)
	defer cancel()
	d.Message = d.Message.Clone()
	return guard.Call(func() error { return o.Handle(d.Context(ctx, o.Name), d) })
}

// giveUp is the end of a delivery that failed for good. Where even that fails, it
// becomes a dead letter too: there is no pause here in which anything would mend.
func (b *Broker) giveUp(ctx context.Context, q *queue, d broker.Delivery, f holdfast.Failure) {
	if q.sub.GiveUp != nil {
		taken, err := q.sub.GiveUp(ctx, d, f)
		if taken && err == nil {
			return
		}
		if err != nil {
			f.Reason += " (and to give it up failed: " + err.Error() + ")"
		}
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.dead = append(b.s.dead, holdfast.DeadLetter{ID: d.Message.ID, Queue: q.name, Group: d.Group, TxID: d.TxID,
		Message: d.Message, Failure: f, Policy: q.sub.Policy, Size: len(d.Message.Body)})
}

func classOf(err error) holdfast.ErrorClass {
	var panicked *holdfast.PanicError
	switch {
	case holdfast.IsPermanent(err):
		return holdfast.ClassPermanent
	case errors.Is(err, holdfast.ErrMalformed):
		return holdfast.ClassMalformed
	case errors.As(err, &panicked):
		return holdfast.ClassPanic
	}
	return holdfast.ClassError
}
