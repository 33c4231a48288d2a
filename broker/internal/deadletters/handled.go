package deadletters

import (
	"context"
	"fmt"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Postpone puts a record off, and returns once RabbitMQ has confirmed that.
func Postpone(ctx context.Context, c *link.Client, h wire.HandledRecord) error {
	ctx, cancel := c.Timeout(ctx)
	defer cancel()
	msg := wire.EncodeHandled(h.Queue, h.Consumer, h.MessageID, h.Copy, h.Redelivery)
	msg.Headers[wire.HeaderLate] = "1"
	// No consumer's queue has that name: so it takes the way of those whose
	// consumer is gone, to the queue of dead letters.
	p := link.Publication{Exchange: c.RetryQueue(topology.Postponed), Key: c.DeadQueue(), Mandatory: true, Repair: true,
		Msg: msg}
	if err := c.Pub.One(ctx, &p, ""); err != nil {
		return fmt.Errorf("put off the record that the redelivered message %s was handled: %w", h.MessageID, err)
	}
	return nil
}
