package broker

import (
	"context"
	"fmt"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Postpone puts a record off for 10 s and returns once RabbitMQ has confirmed
// that: it then comes again, with Late set. So somebody can act on it at once,
// and still be told if that is lost.
func (b *Broker) Postpone(ctx context.Context, h wire.HandledRecord) error {
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	msg := wire.EncodeHandled(h.Queue, h.Consumer, h.MessageID, h.Copy, h.Redelivery)
	msg.Headers[wire.HeaderLate] = "1"
	// No consumer's queue has that name: so it takes the way of those whose
	// consumer is gone, to the queue of dead letters.
	p := link.Publication{Exchange: b.RetryQueue(topology.Postponed), Key: b.DeadQueue(), Mandatory: true, Repair: true,
		Msg: msg}
	if err := b.c.Pub.One(ctx, &p, ""); err != nil {
		return fmt.Errorf("put off the record that the redelivered message %s was handled: %w", h.MessageID, err)
	}
	return nil
}
