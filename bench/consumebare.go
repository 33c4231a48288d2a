package main

import (
	"context"
	"errors"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// consumeBare is what consume has to stand up to: the client library alone.
var consumeBare = competitor{
	name: "consume-bare",
	about: "bare amqp091-go: 16 goroutines take the deliveries of one channel, do nothing and acknowledge each; " +
		"prefetch 64; the same messages, the same kind of queue",
	callers: consumeCallers,
	turns:   drainTurns,
	open: func(ctx context.Context, s *servers) (*entry, error) {
		return openDrain(ctx, s, "consume-bare", drain{messages: consumeBacklog, warmUp: consumeBacklog / 10,
			consume: func(ctx context.Context, callers int, t *tally) error {
				return runBare(ctx, s, "consume-bare", callers, func(*amqp.Delivery) error { return t.work(nothing) })
			}})
	},
}

// consumeDBBare is what consumeDB has to stand up to: the same insert in a
// transaction of its own, and nothing that would notice a repeated delivery.
var consumeDBBare = competitor{
	name: "consume-db-bare",
	about: "bare amqp091-go and gorm: as consume-bare, with one insert in a transaction for each message, " +
		"on the same pool of connections; no inbox row",
	callers: consumeCallers,
	turns:   drainTurns,
	open: func(ctx context.Context, s *servers) (*entry, error) {
		return openDrain(ctx, s, "consume-db-bare", drain{messages: consumeDBBacklog, warmUp: consumeDBBacklog / 10,
			consume: func(ctx context.Context, callers int, t *tally) error {
				return runBare(ctx, s, "consume-db-bare", callers, func(d *amqp.Delivery) error {
					return t.work(func() error {
						key, _ := d.Headers["holdfast-key"].(string)
						return insertAlone(ctx, s.db, key)
					})
				})
			}})
	},
}

// runBare handles a queue's messages on one channel, callers at a time, and
// acknowledges each by itself, until ctx is done. It is how amqp091-go is meant to
// be used: one channel for its acknowledgements, any number of goroutines that
// range over its deliveries. A handler's error ends it: there is nothing that
// would try again.
func runBare(ctx context.Context, s *servers, name string, callers int, handle func(*amqp.Delivery) error) error {
	conn, err := amqp.Dial(s.stack.AMQPURL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(drainPrefetch, 0, false); err != nil {
		return err
	}
	const tag = "bare"
	deliveries, err := ch.Consume(s.broker.ConsumerQueue(name), tag, false, false, false, false, nil)
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
