package broker

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// publishDead stores a dead letter and returns once it is confirmed.
func (b *Broker) publishDead(ctx context.Context, msg amqp.Publishing) error {
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	wire.Squeeze(&msg, b.pubLink.limits().Room())
	p := publication{exchange: b.DeadQueue(), key: b.DeadQueue(), mandatory: true, repair: true, msg: msg}
	if err := b.pub.one(ctx, &p, ""); err != nil {
		return fmt.Errorf("dead letter %s: %w", msg.MessageId, err)
	}
	return nil
}
