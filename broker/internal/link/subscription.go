package link

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

// Subscription is one AMQP channel that consumes one queue. Its methods are for
// one goroutine.
type Subscription struct {
	conn       *amqp.Connection
	Ch         *amqp.Channel
	Deliveries <-chan amqp.Delivery // closed when the subscription is lost; nil while there is none
	Closes     <-chan *amqp.Error
	cancels    <-chan string
	Prefetch   int // 0 while there is none
	tags       int
	Failed     error
	Acks       *Acker     // a consumer's; others have none
	Trust      wire.Trust // likewise
}

// tag is the current consumer tag. Tags are never reused: RabbitMQ would take a new
// consumer with a cancelled one's tag for the same one, which still holds its deliveries.
func (s *Subscription) tag() string { return "holdfast-" + strconv.Itoa(s.tags) }

// Consume begins to fetch from queue. An error means that the channel is lost.
func (s *Subscription) Consume(queue string, prefetch int) error {
	s.tags++
	err := s.Ch.Qos(prefetch, 0, false)
	if err == nil {
		s.Deliveries, err = s.Ch.Consume(queue, s.tag(), false, false, false, false, nil)
	}
	if err != nil {
		s.Deliveries, s.Prefetch, s.Failed = nil, 0, err
		return err
	}
	s.Prefetch = prefetch
	return nil
}

// stop ends the fetching and keeps the channel, over which what was taken before
// can still be acknowledged. It returns what was fetched and not taken.
func (s *Subscription) stop() (rest []amqp.Delivery) {
	if s.Deliveries == nil {
		return nil
	}
	// After the answer nothing more comes, and deliveries is closed.
	if err := s.Ch.Cancel(s.tag(), false); err == nil {
		for d := range s.Deliveries {
			rest = append(rest, d)
		}
	}
	s.Deliveries, s.Prefetch = nil, 0
	return rest
}

// finalError is one that no further subscription can cure.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Final makes an error end resubscribe where declare returns it.
func Final(text string) error { return finalError{errors.New(text)} }

// Subscriber consumes queues over one connection.
type Subscriber struct {
	Connection *Connection
	Calls      *Calls
	// doubt is told of a queue that may be gone.
	Doubt func(queue string)
}

// Subscribe begins to consume queue; with a prefetch of 0 it leaves that to the
// caller. Its channel is the caller's to close.
func (r *Subscriber) Subscribe(ctx context.Context, queue string, prefetch int) (*Subscription, error) {
	conn, err := r.Connection.Get(ctx)
	if err != nil {
		return nil, err
	}
	type result struct {
		s   *Subscription
		err error
	}
	results := make(chan result)
	ok := r.Calls.Spawn(func() {
		s, err := openSubscription(conn, queue, prefetch)
		select {
		case results <- result{s, err}:
		case <-ctx.Done():
			if s != nil {
				_ = s.Ch.Close()
			}
		}
	})
	if !ok {
		return nil, ErrClosed
	}
	select {
	case got := <-results:
		if got.err != nil && !conn.IsClosed() {
			r.Doubt(queue)
		}
		if lack := lacks(r.Connection.Where(), got.err, "read"); lack != nil {
			return nil, lack
		}
		return got.s, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func openSubscription(conn *amqp.Connection, queue string, prefetch int) (*Subscription, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	s := &Subscription{conn: conn, Ch: ch,
		Closes:  ch.NotifyClose(make(chan *amqp.Error, 1)),
		cancels: ch.NotifyCancel(make(chan string, 1))}
	if prefetch == 0 {
		return s, nil
	}
	if err := s.Consume(queue, prefetch); err != nil {
		_ = ch.Close()
		return nil, err
	}
	return s, nil
}

// MayRead returns RabbitMQ's error if it does not let this user read a queue.
func (r *Subscriber) MayRead(ctx context.Context, queue string) error {
	s, err := r.Subscribe(ctx, queue, 1)
	if err == nil {
		_ = s.Ch.Close() // and what it took goes back
		return nil
	}
	return fmt.Errorf("read queue %s: %w", queue, err)
}

// Reason says why deliveries was closed.
func (s *Subscription) Reason() error {
	select {
	case _, ok := <-s.cancels:
		if ok {
			return errors.New("RabbitMQ cancelled the consumer: its queue was deleted or moved, or a delivery was " +
				"held longer than consumer_timeout")
		}
	default:
	}
	select {
	case e := <-s.Closes:
		if e != nil {
			return e
		}
	default:
	}
	if s.Failed != nil {
		return s.Failed
	}
	return amqp.ErrClosed
}

// ErrYielded ends a Keeper's session in favour of another one.
var ErrYielded = errors.New("the Keeper gave its place to another process of the group")

// Resubscribe declares, subscribes and runs session, again and again until ctx
// is done. It returns an error only where nothing but a person can help.
func (r *Subscriber) Resubscribe(ctx context.Context, log *slog.Logger, queue string, prefetch int,
	declare func(context.Context) error, session func(context.Context, *Subscription)) error {
	pause := NewBackoff()
	for {
		err := declare(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, holdfast.ErrInvalid) || errors.Is(err, ErrClosed) || errors.As(err, new(finalError)) {
			return err
		}
		var s *Subscription
		if err == nil {
			s, err = r.Subscribe(ctx, queue, prefetch)
		}
		if err == nil {
			began := time.Now()
			session(ctx, s)
			err = s.Reason()
			if ctx.Err() == nil && !s.conn.IsClosed() {
				r.Doubt(queue) // it may be gone
			}
			_ = s.Ch.Close()
			if time.Since(began) > 10*time.Second {
				pause.Reset()
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrClosed) {
			return err
		}
		if errors.Is(err, ErrYielded) {
			log.Info("another process of the group keeps the half queue from now on, since it can hand over", "queue",
				queue)
		} else {
			log.Warn("subscription lost, subscribing again", "queue", queue, "error", err)
		}
		if !Sleep(ctx, pause.NextBackOff()) {
			return nil
		}
	}
}

// Protect calls f, which may be the application's: whatever it does is an error.
func Protect(f func() error) error {
	err := guard.Call(f)
	if _, panicked := any(err).(*holdfast.PanicError); panicked {
		return fmt.Errorf("handler: %w", err)
	}
	return err
}

// Taken is told of each of a consumer's deliveries, before anything else happens to
// it.
func (s *Subscription) Taken(d *amqp.Delivery) {
	s.Acks.Take(d)
	s.Trust.Admit(d)
}

// Halt is stop for a consumer: the acknowledgements that wait are sent, and from
// now on none waits.
func (s *Subscription) Halt() []*amqp.Delivery {
	rest := s.stop()
	out := make([]*amqp.Delivery, len(rest))
	for i := range rest {
		s.Taken(&rest[i])
		out[i] = &rest[i]
	}
	s.Acks.Window(0)
	return out
}
