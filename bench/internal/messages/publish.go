// Package messages has the competitors without transactions: publishing and
// consuming, beside bare loops of amqp091-go, and backlogs that a consumer, or a
// Keeper, works off.
package messages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// publishCallers is the number of callers, and of publishes in flight.
var publishCallers = []int{64}

// publishTurns are many: a second of publishing says as much as five, and what
// else the machine does changes from second to second.
const publishTurns = 5

// Publish is the broker package's publishing of a committed message.
var Publish = contest.Competitor{
	Name: "publish",
	About: "the broker package: 64 callers, each publishes a message and waits for its confirm; " +
		"persistent, mandatory, to a topic exchange and a quorum queue",
	Callers: publishCallers,
	Turns:   publishTurns,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		topic, err := s.Topic(ctx, "publish")
		if err != nil {
			return nil, err
		}
		return &contest.Entry{
			Drive: measure.ClosedLoop(func(ctx context.Context) error {
				id, ms := orders.NewTransaction(topic)
				return s.Broker.PublishMessages(ctx, "publish", id, ms)
			}),
			Settle: func(context.Context) error { return s.Purge(s.Broker.ConsumerQueue("publish")) },
		}, nil
	},
}

// PublishBare is a bare loop that does nothing else.
var PublishBare = contest.Competitor{
	Name: "publish-bare",
	About: "a bare amqp091-go loop: one goroutine, one channel, 64 confirms in flight; " +
		"the same body, exchange, kind of queue, persistent, mandatory; no headers",
	Callers: publishCallers,
	Turns:   publishTurns,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		topic, err := s.Topic(ctx, "publish-bare")
		if err != nil {
			return nil, err
		}
		conn, err := amqp.Dial(s.Stack.AMQPURL())
		if err != nil {
			return nil, err
		}
		return &contest.Entry{
			Drive: func(ctx context.Context, l *measure.Load) error {
				return publishLoop(ctx, l, conn, s.Broker.TopicsExchange(), topic)
			},
			Settle: func(context.Context) error { return s.Purge(s.Broker.ConsumerQueue("publish-bare")) },
			Close:  func() { _ = conn.CloseDeadline(time.Now().Add(servers.CloseTimeout)) },
		}, nil
	},
}

// publishLoop keeps l.Callers publishes in flight on one channel. Each has a slot
// in a ring; before a slot is used again, its confirm is waited for.
func publishLoop(ctx context.Context, l *measure.Load, conn *amqp.Connection, exchange, topic string) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	returns := ch.NotifyReturn(make(chan amqp.Return, l.Callers))
	type flight struct {
		began   time.Time
		confirm *amqp.DeferredConfirmation
	}
	ring := make([]flight, l.Callers)
	land := func(slot int) error {
		f := &ring[slot]
		if f.confirm == nil {
			return nil
		}
		acked, err := f.confirm.WaitContext(ctx)
		if err == nil && !acked {
			err = errors.New("not confirmed")
		}
		l.Note(slot, f.began, err)
		f.confirm = nil
		return err
	}
	for n := 0; !l.Over(ctx); n++ {
		slot := n % len(ring)
		if err := land(slot); err != nil {
			return err
		}
		number := uuid.NewString()
		f := flight{began: time.Now()}
		f.confirm, err = ch.PublishWithDeferredConfirm(exchange, topic, true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, ContentType: "application/json",
			MessageId: uuid.Must(uuid.NewV7()).String(), Timestamp: f.began, Body: orders.Body(number)})
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
