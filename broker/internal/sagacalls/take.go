package sagacalls

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

const (
	// Concurrency is how many replies of a queue are handled at a time.
	Concurrency = 64
	// Prefetch is how many of them are held, those included whose handler
	// failed and that pause.
	Prefetch = 256
	// replyTimeLimit ends the context of a handler.
	replyTimeLimit = 30 * time.Second
	// replyHold is how long a reply is held whose handler fails, before it goes
	// behind the others.
	replyHold = 30 * time.Second
)

// Consume declares the two reply queues of group and consumes both, until ctx is done.
func (s *Calls) Consume(ctx context.Context, group string,
	handle func(context.Context, wire.SagaReply) error) error {
	if err := wire.ValidGroup(group); err != nil {
		return err
	}
	if handle == nil {
		return fmt.Errorf("%w: replies of the group %q: handle is nil", holdfast.ErrInvalid, group)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var errs [2]error
	var both sync.WaitGroup
	for i, run := range []func(context.Context) error{s.newReplyTaker(ctx, group, handle).durable,
		s.newReplyTaker(ctx, group, handle).instance} {
		both.Go(func() {
			errs[i] = run(ctx)
			cancel() // one alone would seem to work
		})
	}
	both.Wait()
	return errors.Join(errs[:]...)
}

// replyTaker takes the replies of one queue.
type replyTaker struct {
	*link.Pool
	s      *Calls
	log    *slog.Logger
	group  string
	handle func(context.Context, wire.SagaReply) error
	slots  chan struct{} // one for each running call of handle
	hold   time.Duration // how long a reply is held whose handler fails

	mu     sync.Mutex
	logged time.Time
}

func (s *Calls) newReplyTaker(ctx context.Context, group string,
	handle func(context.Context, wire.SagaReply) error) *replyTaker {
	log := s.c.Log.With("group", group)
	return &replyTaker{Pool: link.NewPool(ctx, log, "replies to sagas"), s: s, log: log, group: group, handle: handle,
		slots: make(chan struct{}, Concurrency), hold: cmp.Or(s.Hold, replyHold)}
}

// durable takes those of the group's queue.
func (r *replyTaker) durable(ctx context.Context) error {
	defer r.Cancel(nil)
	queue := r.s.c.ReplyQueue(r.group)
	err := r.s.c.Subs.Resubscribe(ctx, r.log, queue, Prefetch,
		func(ctx context.Context) error { return r.s.topo.DeclareReplies(ctx, r.group) },
		func(ctx context.Context, s *link.Subscription) { r.run(ctx, s, queue) })
	return errors.Join(err, r.Drain())
}

// instance takes those of this process's queue. If RabbitMQ refuses it, for example
// because the cluster's node that has it is down, another takes its place.
func (r *replyTaker) instance(ctx context.Context) error {
	defer r.Cancel(nil)
	pause := link.NewBackoff()
	for {
		queue := r.s.replyNames.of(r.group)
		err := r.s.c.Subs.Resubscribe(ctx, r.log, queue, Prefetch,
			func(ctx context.Context) error { return r.s.declareInstanceReplies(ctx, r.group, queue) },
			func(ctx context.Context, s *link.Subscription) {
				r.run(ctx, s, queue)
				if ctx.Err() != nil {
					r.remove(s.Ch, queue)
				}
			})
		if errors.Is(err, errNoQueue) {
			r.log.Info("this user may not make a queue of its own for replies to sagas: they come through the "+
				"group's, a little later", "queue", queue)
			r.s.replyNames.none(r.group)
			<-ctx.Done()
			return r.Drain()
		}
		if !errors.Is(err, errRefusedQueue) {
			return errors.Join(err, r.Drain())
		}
		r.s.replyNames.renew(r.group)
		r.log.Warn("the queue of this process's replies cannot be used; another takes its place", "queue", queue,
			"error", err)
		if !link.Sleep(ctx, pause.NextBackOff()) {
			return r.Drain()
		}
	}
}

func (r *replyTaker) run(ctx context.Context, s *link.Subscription, queue string) {
	r.Session(ctx, s, func(gone context.Context, d *amqp.Delivery) { r.take(gone, d, queue) })
	if ctx.Err() != nil {
		_ = r.Drain() // while what finishes can be acknowledged
	}
}

// remove is for a process that ends.
func (r *replyTaker) remove(ch *amqp.Channel, queue string) {
	if err := deleteReplyQueue(ch, queue); err != nil {
		r.log.Debug("the queue of this process's replies is left to RabbitMQ", "error", err)
	}
}

// take deals with one delivery, until gone is done: then it is RabbitMQ's again.
func (r *replyTaker) take(gone context.Context, d *amqp.Delivery, queue string) {
	reply, err := wire.DecodeReply(d)
	if err == nil {
		err = r.s.c.Trust().Replied(d)
	}
	if err != nil {
		r.bury(gone, d, queue, err)
		return
	}
	pause := link.NewBackoff()
	came := time.Now()
	for {
		err := r.try(gone, reply)
		switch {
		case err == nil:
			r.settle(d.Ack(false))
			return
		case gone.Err() != nil:
			r.settle(d.Nack(false, true))
			return
		}
		r.complain(reply, err)
		if !link.Sleep(gone, pause.NextBackOff()) {
			r.settle(d.Nack(false, true))
			return
		}
		if time.Since(came) >= r.hold {
			r.putBack(d)
			return
		}
	}
}

// try calls handle as soon as there is a slot.
func (r *replyTaker) try(gone context.Context, reply wire.SagaReply) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-gone.Done():
		return link.ErrGone
	}
	if gone.Err() != nil {
		return link.ErrGone
	}
	ctx, cancel := context.WithTimeout(r.Calls, replyTimeLimit)
	defer cancel()
	err := link.Protect(func() error { return r.handle(ctx, reply) })
	if err == nil {
		fault.Point(fault.SagaReplyTaken)
	}
	return err
}

// putBack puts a reply behind the others of the group's queue, where another
// process may take it.
func (r *replyTaker) putBack(d *amqp.Delivery) {
	ctx, cancel := r.s.c.Timeout(r.Calls)
	defer cancel()
	p := link.Publication{Exchange: r.s.c.RepliesExchange(), Key: r.s.c.ReplyQueue(r.group), Mandatory: true, Repair: true,
		Msg: wire.Again(d)}
	if err := r.s.c.Pub.One(ctx, &p, ""); err != nil {
		r.log.Warn("a reply to a saga could not be put behind the others; it is given back", "error", err)
		r.settle(d.Nack(false, true))
		return
	}
	r.settle(d.Ack(false))
}

// bury puts what is no reply with the dead letters.
func (r *replyTaker) bury(gone context.Context, d *amqp.Delivery, queue string, cause error) {
	r.log.Warn("what is no reply to a saga goes to the dead letters", "queue", queue, "message", d.MessageId, "error",
		cause)
	if err := r.s.c.Bury(r.Calls, d, wire.DeathOf(queue, "", 1, cause, time.Now())); err != nil {
		r.log.Error("a dead letter could not be stored; the message will be delivered again", "message", d.MessageId,
			"error", err)
		link.Sleep(gone, link.UnpublishedPause)
		r.settle(d.Nack(false, true))
		return
	}
	fault.Point(fault.DeadBeforeAck)
	r.settle(d.Ack(false))
}

func (r *replyTaker) settle(err error) {
	if err != nil {
		r.log.Debug("acknowledgement lost with its channel: the reply will be delivered again", "error", err)
	}
}

// complain logs that replies wait, but not for each of them.
func (r *replyTaker) complain(reply wire.SagaReply, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.logged) < 10*time.Second {
		return
	}
	r.logged = time.Now()
	r.log.Warn("replies could not be passed on to their sagas; they are kept and tried again", "saga", reply.Saga,
		"step", reply.Step, "error", err)
}
