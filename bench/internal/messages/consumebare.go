package messages

import (
	"context"
	"errors"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// ConsumeBare is what consume has to stand up to: the client library alone.
var ConsumeBare = contest.Competitor{
	Name: "consume-bare",
	About: "bare amqp091-go: 16 goroutines take the deliveries of one channel, do nothing and acknowledge each; " +
		"prefetch 64; the same messages, the same kind of queue",
	Callers: ConsumeCallers,
	Turns:   drainTurns,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openDrain(ctx, s, "consume-bare", measure.Drain{Messages: consumeBacklog, WarmUp: consumeBacklog / 10,
			Consume: func(ctx context.Context, callers int, t *measure.Tally) error {
				return RunBare(ctx, s, "consume-bare", callers, func(*amqp.Delivery) error { return t.Work(measure.Nothing) })
			}})
	},
}

// ConsumeDBBare is what ConsumeDB has to stand up to: the same insert in a
// transaction of its own, and nothing that would notice a repeated delivery.
var ConsumeDBBare = contest.Competitor{
	Name: "consume-db-bare",
	About: "bare amqp091-go and gorm: as consume-bare, with one insert in a transaction for each message, " +
		"on the same pool of connections; no inbox row",
	Callers: ConsumeCallers,
	Turns:   drainTurns,
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openDrain(ctx, s, "consume-db-bare", measure.Drain{Messages: consumeDBBacklog, WarmUp: consumeDBBacklog / 10,
			Consume: func(ctx context.Context, callers int, t *measure.Tally) error {
				return RunBare(ctx, s, "consume-db-bare", callers, func(d *amqp.Delivery) error {
					return t.Work(func() error {
						key, _ := d.Headers["holdfast-key"].(string)
						return orders.InsertAlone(ctx, s.DB, key)
					})
				})
			}})
	},
}

// RunBare handles a queue's messages on one channel, callers at a time, and
// acknowledges each by itself, until ctx is done. It is how amqp091-go is meant to
// be used: one channel for its acknowledgements, any number of goroutines that
// range over its deliveries. A handler's error ends it: there is nothing that
// would try again.
func RunBare(ctx context.Context, s *servers.Servers,
	name string, callers int, handle func(*amqp.Delivery) error) error {
	conn, err := amqp.Dial(s.Stack.AMQPURL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(servers.Prefetch, 0, false); err != nil {
		return err
	}
	const tag = "bare"
	deliveries, err := ch.Consume(s.Broker.ConsumerQueue(name), tag, false, false, false, false, nil)
	if err != nil {
		return err
	}
	failed := make(chan error, callers)
	var handlers sync.WaitGroup
	for range callers {
		handlers.Go(func() {
			for d := range deliveries {
				err := handle(&d)
				if err == nil {
					err = d.Ack(false)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	err = errors.Join(err, ch.Cancel(tag, false)) // closes deliveries
	if err != nil {
		_ = conn.Close() // whatever the handlers wait for
	}
	handlers.Wait()
	return errors.Join(err, ch.Close())
}
