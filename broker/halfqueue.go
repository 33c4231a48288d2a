package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
	amqp "github.com/rabbitmq/amqp091-go"
)

// HalfQueue is the name of a producer group's first half queue; every group has
// that one.
func (b *Broker) HalfQueue(group string) string { return b.o.halfQueue(group, 1) }

// HalfQueues are the names of a producer group's half queues, as many as
// Options.HalfQueues says.
func (b *Broker) HalfQueues(group string) []string {
	names := make([]string, b.o.HalfQueues)
	for i := range names {
		names[i] = b.o.halfQueue(group, i+1)
	}
	return names
}

// HalfQueueOf is the name of the half queue that has the half message and the op
// record of a transaction.
func (b *Broker) HalfQueueOf(group, txID string) string { return b.o.halfQueueOf(group, txID) }

// FindHalfQueues returns what HalfQueues does and, behind them, the further half
// queues of the group that exist: those of processes with more of them.
func (b *Broker) FindHalfQueues(ctx context.Context, group string) ([]string, error) {
	if err := wire.ValidGroup(group); err != nil {
		return nil, err
	}
	names := b.HalfQueues(group)
	for n := len(names) + 1; n <= wire.MaxHalfQueues; n++ {
		name := b.o.halfQueue(group, n)
		there, err := b.queueExists(ctx, name)
		if err != nil {
			return names, fmt.Errorf("look for the half queues of %s: %w", group, err)
		}
		if !there {
			break
		}
		names = append(names, name)
	}
	return names, nil
}

// queueExists asks RabbitMQ whether a queue is there.
func (b *Broker) queueExists(ctx context.Context, name string) (bool, error) {
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	conn, err := b.consLink.get(ctx)
	if err != nil {
		return false, err
	}
	return b.exists(ctx, conn, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
}

// errQueueGone means that a half queue beyond Options.HalfQueues does not exist.
var errQueueGone = errors.New("the half queue does not exist")

// halfQueue is the name of the nth half queue of a group, from 1.
func (o Options) halfQueue(group string, n int) string { return wire.HalfQueue(o.Prefix, group, n) }

// halfQueueOf is part of the wire format: whoever has as many half queues finds
// the same one.
func (o Options) halfQueueOf(group, txID string) string {
	return o.halfQueue(group, wire.HalfQueueNumber(txID, o.HalfQueues))
}
