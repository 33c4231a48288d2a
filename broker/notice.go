package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// PublishCompensated tells those who want the notices of d's topic
// ([Subscription].Notices), and the consumer that gave it up, that the message was
// compensated, and returns once RabbitMQ has confirmed it. That nobody listens is no error; it
// may be stored more than once, with the same message-id. What can never be published is refused with
// [holdfast.ErrInvalid] or [holdfast.ErrTooLarge], marked by
// [holdfast.Permanent].
func (b *Broker) PublishCompensated(ctx context.Context, d holdfast.DeadLetter) error {
	if err := wire.Noticeable(&d); err != nil {
		return holdfast.Permanent(fmt.Errorf("compensation notice for %s: %w", d.ID, err))
	}
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	msg := wire.EncodeNotice(&d)
	wire.Squeeze(&msg, b.c.Publishing.Limits().Room())
	ps := []link.Publication{{Exchange: b.NoticesExchange(), Key: d.Message.Topic, Msg: msg}}
	if b.c.Rolling { // older versions listen there
		ps = append(ps, link.Publication{Exchange: b.TopicsExchange(), Key: d.Message.Topic + holdfast.CompensatedSuffix, Msg: msg})
	}
	if wire.ConsumerOf(b.o.Prefix, d.Queue) != "" {
		// A copy of the message may still be on its way there.
		ps = append(ps, link.Publication{Exchange: b.QueuesExchange(), Key: d.Queue, Mandatory: b.c.Rolling, Old: b.c.Rolling, Msg: msg})
	}
	if err := errors.Join(b.c.Pub.All(ctx, ps, fault.NotifyBeforeConfirm)...); err != nil {
		return fmt.Errorf("compensation notice for %s: %w", d.ID, err)
	}
	return nil
}

// misled says why a message is not handled that came to a consumer which does not
// listen to its topic, as far as somebody may have wanted that: by a claim to be a
// compensation notice, by a binding that is left of those for notices, or by a
// header CC, of which RabbitMQ does not ask whether the publisher may.
func (c *consumer) misled(d *amqp.Delivery) error {
	exchange, key := wire.PublishedTo(d)
	claims := wire.HeaderText(d.Headers[wire.HeaderClaim]) == wire.KindCompensated
	if exchange == "" {
		if claims {
			return wire.Malformed("it claims to be a compensation notice, but somebody has put it into the queue %s: notices come through the exchange %s; if processes of an older version still run, set RollingUpgrade",
				c.queue, c.b.NoticesExchange())
		}
		return nil
	}
	noticed := claims || strings.HasSuffix(key, holdfast.CompensatedSuffix)
	copied := d.Headers["CC"] != nil || d.Headers[wire.HeaderUser+"CC"] != nil
	if exchange != c.b.TopicsExchange() || !noticed && !copied || wire.Listens(c.o.Topics, key) {
		return nil
	}
	if noticed {
		return wire.Malformed("consumer %s does not listen to topic %s, to which older versions published compensation notices: remove that binding of its queue; notices come through the exchange %s; if processes of an older version still run, set RollingUpgrade",
			c.o.Name, wire.Clip(key, wire.MaxText), c.b.NoticesExchange())
	}
	return wire.Malformed("consumer %s does not listen to topic %s: the message came by a header CC, which names topics past RabbitMQ's permissions; publish to each topic instead", c.o.Name, wire.Clip(key, wire.MaxText))
}
