package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

// publishCallers is the number of callers, and of publishes in flight.
var publishCallers = []int{64}

// publishTurns are many: a second of publishing says as much as five, and what
// else the machine does changes from second to second.
const publishTurns = 5

// publish is the broker package's publishing of a committed message.
var publish = competitor{
	name: "publish",
	about: "the broker package: 64 callers, each publishes a message and waits for its confirm; " +
		"persistent, mandatory, to a topic exchange and a quorum queue",
	callers: publishCallers,
	turns:   publishTurns,
	open: func(ctx context.Context, s *servers) (*entry, error) {
		topic, err := s.topic(ctx, "publish")
		if err != nil {
			return nil, err
		}
		return &entry{
			drive: closedLoop(func(ctx context.Context) error {
				id, ms := newTransaction(topic)
				return s.broker.PublishMessages(ctx, "publish", id, ms)
			}),
			settle: func(context.Context) error { return s.purge(s.broker.ConsumerQueue("publish")) },
		}, nil
	},
}

// publishBare is a bare loop that does nothing else.
var publishBare = competitor{
	name: "publish-bare",
	about: "a bare amqp091-go loop: one goroutine, one channel, 64 confirms in flight; " +
		"the same body, exchange, kind of queue, persistent, mandatory; no headers",
	callers: publishCallers,
	turns:   publishTurns,
	open: func(ctx context.Context, s *servers) (*entry, error) {
		topic, err := s.topic(ctx, "publish-bare")
		if err != nil {
			return nil, err
		}
		conn, err := amqp.Dial(s.stack.AMQPURL())
		if err != nil {
			return nil, err
		}
		return &entry{
			drive: func(ctx context.Context, l *load) error {
				return publishLoop(ctx, l, conn, s.broker.TopicsExchange(), topic)
			},
			settle: func(context.Context) error { return s.purge(s.broker.ConsumerQueue("publish-bare")) },
			close:  func() { _ = conn.CloseDeadline(time.Now().Add(closeTimeout)) },
		}, nil
	},
}

// publishLoop keeps l.callers publishes in flight on one channel. Each has a slot
// in a ring; before a slot is used again, its confirm is waited for.
func publishLoop(ctx context.Context, l *load, conn *amqp.Connection, exchange, topic string) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	returns := ch.NotifyReturn(make(chan amqp.Return, l.callers))
	type flight struct {
		began   time.Time
		confirm *amqp.DeferredConfirmation
	}
	ring := make([]flight, l.callers)
	land := func(slot int) error {
		f := &ring[slot]
		if f.confirm == nil {
			return nil
		}
		acked, err := f.confirm.WaitContext(ctx)
		if err == nil && !acked {
			err = errors.New("not confirmed")
		}
		l.note(slot, f.began, err)
		f.confirm = nil
		return err
	}
	for n := 0; !l.over(ctx); n++ {
		slot := n % len(ring)
		if err := land(slot); err != nil {
			return err
		}
		number := uuid.NewString()
		f := flight{began: time.Now()}
		f.confirm, err = ch.PublishWithDeferredConfirm(exchange, topic, true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, ContentType: "application/json",
			MessageId: uuid.Must(uuid.NewV7()).String(), Timestamp: f.began, Body: body(number)})
		if err != nil {
			return err
		}
		ring[slot] = f
		select {
		case r := <-returns:
			return fmt.Errorf("returned: %s", r.ReplyText)
		default:
		}
	}
	for slot := range ring {
		if err := land(slot); err != nil {
			return err
		}
	}
	return ctx.Err()
}
