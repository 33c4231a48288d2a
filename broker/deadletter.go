package broker

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// publishDead stores a dead letter and returns once it is confirmed.
func (b *Broker) publishDead(ctx context.Context, msg amqp.Publishing) error {
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	wire.Squeeze(&msg, b.pubLink.Limits().Room())
	p := link.Publication{Exchange: b.DeadQueue(), Key: b.DeadQueue(), Mandatory: true, Repair: true, Msg: msg}
	if err := b.pub.One(ctx, &p, ""); err != nil {
		return fmt.Errorf("dead letter %s: %w", msg.MessageId, err)
	}
	return nil
}
