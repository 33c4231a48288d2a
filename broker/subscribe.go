package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/guard"
)

// subscription is one AMQP channel that consumes one queue. Its methods are for
// one goroutine.
type subscription struct {
	conn       *amqp.Connection
	ch         *amqp.Channel
	deliveries <-chan amqp.Delivery // closed when the subscription is lost; nil while there is none
	closes     <-chan *amqp.Error
	cancels    <-chan string
	prefetch   int // 0 while there is none
	tags       int
	failed     error
	acks       *acker     // a consumer's; others have none
	trust      wire.Trust // likewise
}

// tag is the current one. Each is new: to RabbitMQ a consumer that was cancelled
// goes on, with what it holds, if another of its name comes.
func (s *subscription) tag() string { return "holdfast-" + strconv.Itoa(s.tags) }

// consume begins to fetch from queue. An error means that the channel is lost.
func (s *subscription) consume(queue string, prefetch int) error {
	s.tags++
	err := s.ch.Qos(prefetch, 0, false)
	if err == nil {
		s.deliveries, err = s.ch.Consume(queue, s.tag(), false, false, false, false, nil)
	}
	if err != nil {
		s.deliveries, s.prefetch, s.failed = nil, 0, err
		return err
	}
	s.prefetch = prefetch
	return nil
}

// stop ends the fetching and keeps the channel, over which what was taken before
// can still be acknowledged. It returns what was fetched and not taken.
func (s *subscription) stop() (rest []amqp.Delivery) {
	if s.deliveries == nil {
		return nil
	}
	// After the answer nothing more comes, and deliveries is closed.
	if err := s.ch.Cancel(s.tag(), false); err == nil {
		for d := range s.deliveries {
			rest = append(rest, d)
		}
	}
	s.deliveries, s.prefetch = nil, 0
	return rest
}

// finalError is one that no further subscription can cure.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// final makes an error end resubscribe where declare returns it.
func final(text string) error { return finalError{errors.New(text)} }

// subscriber consumes queues over one connection.
type subscriber struct {
	link  *link
	calls *calls
	// doubt is told of a queue that may be gone.
	doubt func(queue string)
}

// subscribe begins to consume queue; with a prefetch of 0 it leaves that to the
// caller. Its channel is the caller's to close.
func (r *subscriber) subscribe(ctx context.Context, queue string, prefetch int) (*subscription, error) {
	conn, err := r.link.get(ctx)
	if err != nil {
		return nil, err
	}
	type result struct {
		s   *subscription
		err error
	}
	results := make(chan result)
	ok := r.calls.spawn(func() {
		s, err := openSubscription(conn, queue, prefetch)
		select {
		case results <- result{s, err}:
		case <-ctx.Done():
			if s != nil {
				_ = s.ch.Close()
			}
		}
	})
	if !ok {
		return nil, errClosed
	}
	select {
	case got := <-results:
		if got.err != nil && !conn.IsClosed() {
			r.doubt(queue)
		}
		return got.s, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func openSubscription(conn *amqp.Connection, queue string, prefetch int) (*subscription, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	s := &subscription{conn: conn, ch: ch,
		closes:  ch.NotifyClose(make(chan *amqp.Error, 1)),
		cancels: ch.NotifyCancel(make(chan string, 1))}
	if prefetch == 0 {
		return s, nil
	}
	if err := s.consume(queue, prefetch); err != nil {
		_ = ch.Close()
		return nil, err
	}
	return s, nil
}

// reason says why deliveries was closed.
func (s *subscription) reason() error {
	select {
	case _, ok := <-s.cancels:
		if ok {
			return errors.New("RabbitMQ cancelled the consumer: its queue was deleted or moved, or a delivery was held longer than consumer_timeout")
		}
	default:
	}
	select {
	case e := <-s.closes:
		if e != nil {
			return e
		}
	default:
	}
	if s.failed != nil {
		return s.failed
	}
	return amqp.ErrClosed
}

// errYielded ends a Keeper's session in favour of another one.
var errYielded = errors.New("the Keeper gave its place to another process of the group")

// resubscribe declares, subscribes and runs session, again and again until ctx
// is done. It returns an error only where nothing but a person can help.
func (r *subscriber) resubscribe(ctx context.Context, log *slog.Logger, queue string, prefetch int,
	declare func(context.Context) error, session func(context.Context, *subscription)) error {
	pause := newBackoff()
	for {
		err := declare(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, holdfast.ErrInvalid) || errors.Is(err, errClosed) || errors.As(err, new(finalError)) {
			return err
		}
		var s *subscription
		if err == nil {
			s, err = r.subscribe(ctx, queue, prefetch)
		}
		if err == nil {
			began := time.Now()
			session(ctx, s)
			err = s.reason()
			if ctx.Err() == nil && !s.conn.IsClosed() {
				r.doubt(queue) // it may be gone
			}
			_ = s.ch.Close()
			if time.Since(began) > 10*time.Second {
				pause.Reset()
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errClosed) {
			return err
		}
		if errors.Is(err, errYielded) {
			log.Info("another process of the group keeps the half queue from now on, since it can hand over", "queue", queue)
		} else {
			log.Warn("subscription lost, subscribing again", "queue", queue, "error", err)
		}
		if !sleep(ctx, pause.NextBackOff()) {
			return nil
		}
	}
}

// protect calls f, which may be the application's: whatever it does is an error.
func protect(f func() error) error {
	err := guard.Call(f)
	if p := (*holdfast.PanicError)(nil); errors.As(err, &p) && err == error(p) {
		return fmt.Errorf("handler: %w", err)
	}
	return err
}

// taken is told of each of a consumer's deliveries, before anything else happens to
// it.
func (s *subscription) taken(d *amqp.Delivery) {
	s.acks.take(d)
	s.trust.Admit(d)
}

// halt is stop for a consumer: the acknowledgements that wait are sent, and from
// now on none waits.
func (s *subscription) halt() []*amqp.Delivery {
	rest := s.stop()
	out := make([]*amqp.Delivery, len(rest))
	for i := range rest {
		s.taken(&rest[i])
		out[i] = &rest[i]
	}
	s.acks.window(0)
	return out
}
