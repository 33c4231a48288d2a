package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// subscription is one AMQP channel that consumes one queue.
type subscription struct {
	ch         *amqp.Channel
	deliveries <-chan amqp.Delivery // closed when the subscription is lost
	closes     <-chan *amqp.Error
	cancels    <-chan string
}

const consumerTag = "holdfast" // unique within its channel

// subscribe begins to consume queue. Its channel is the caller's to close.
func (b *Broker) subscribe(ctx context.Context, queue string, prefetch int) (*subscription, error) {
	conn, err := b.consLink.get(ctx)
	if err != nil {
		return nil, err
	}
	type result struct {
		s   *subscription
		err error
	}
	results := make(chan result)
	ok := b.spawn(func() {
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
	case r := <-results:
		return r.s, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func openSubscription(conn *amqp.Connection, queue string, prefetch int) (*subscription, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	s := &subscription{ch: ch,
		closes:  ch.NotifyClose(make(chan *amqp.Error, 1)),
		cancels: ch.NotifyCancel(make(chan string, 1))}
	if err = ch.Qos(prefetch, 0, false); err == nil {
		s.deliveries, err = ch.Consume(queue, consumerTag, false, false, false, false, nil)
	}
	if err != nil {
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
	return amqp.ErrClosed
}

// resubscribe declares, subscribes and runs session, again and again until ctx
// is done. It returns an error only where nothing but a person can help.
func (b *Broker) resubscribe(ctx context.Context, log *slog.Logger, queue string, prefetch int,
	declare func(context.Context) error, session func(context.Context, *subscription)) error {
	pause := newBackoff()
	for {
		err := declare(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, holdfast.ErrInvalid) || errors.Is(err, errClosed) {
			return err
		}
		var s *subscription
		if err == nil {
			s, err = b.subscribe(ctx, queue, prefetch)
		}
		if err == nil {
			began := time.Now()
			session(ctx, s)
			err = s.reason()
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
		log.Warn("subscription lost, subscribing again", "queue", queue, "error", err)
		if !sleep(ctx, pause.NextBackOff()) {
			return nil
		}
	}
}

// panicError makes an error of what recover returned.
func panicError(v any) error { return &holdfast.PanicError{Value: v, Stack: debug.Stack()} }

// protect calls f and turns a panic into an error.
func protect(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("handler: %w", panicError(v))
		}
	}()
	return f()
}
