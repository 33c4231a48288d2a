package deadletters

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// KeepWhole makes an oversized dead letter small: it stores the whole message in the
// queue of oversized ones, then puts a record with the message's beginning into
// the queue of dead letters. The delivery may be acknowledged after that. If the
// process dies in between, both are stored again: the second copy of the whole
// message is harmless, and the second record has the same ID.
func KeepWhole(ctx context.Context, c *link.Client, d *amqp.Delivery, l *holdfast.DeadLetter, maxBody int) error {
	whole := wire.EncodeWhole(d, l)
	wire.Squeeze(&whole, c.Publishing.Limits().Room())
	timed, cancel := c.Timeout(ctx)
	defer cancel()
	p := link.Publication{Exchange: c.QueuesExchange(), Key: c.OversizedQueue(), Mandatory: true, Repair: true,
		Old: c.Rolling, Msg: whole}
	if err := c.Pub.One(timed, &p, ""); err != nil {
		return fmt.Errorf("keep the oversized message %s in %s: %w", l.ID, c.OversizedQueue(), err)
	}
	if err := c.PublishDead(ctx, wire.EncodeBeginning(d, l, c.OversizedQueue(), maxBody)); err != nil {
		return err
	}
	fault.Point(fault.DeadKeptBeforeAck)
	return nil
}

// toTail puts a record behind all others of the queue of dead letters. What
// RabbitMQ dropped becomes a record of ours with that: it would not leave the
// header x-death in what a client publishes.
func toTail(ctx context.Context, c *link.Client, d *amqp.Delivery, l *holdfast.DeadLetter) error {
	msg := wire.Again(d)
	if l != nil {
		about := wire.HeadersOfDeath(l)
		if l.Kept != "" {
			about[wire.HeaderKept], about[wire.HeaderWholeSize] = l.Kept, strconv.Itoa(l.Size)
		}
		maps.Copy(msg.Headers, about)
	}
	return c.PublishDead(ctx, msg)
}

// publishOversized stores a whole message in the queue of oversized ones.
func publishOversized(ctx context.Context, c *link.Client, msg amqp.Publishing) error {
	wire.Squeeze(&msg, c.Publishing.Limits().Room())
	p := link.Publication{Exchange: c.QueuesExchange(), Key: c.OversizedQueue(), Mandatory: true, Repair: true,
		Old: c.Rolling, Msg: msg}
	if err := c.Pub.One(ctx, &p, ""); err != nil {
		return fmt.Errorf("%w: in %s", err, c.OversizedQueue())
	}
	return nil
}
