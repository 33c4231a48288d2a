package broker

import (
	"context"
	"errors"
	"fmt"

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
		ps = append(ps, link.Publication{Exchange: b.TopicsExchange(),
			Key: d.Message.Topic + holdfast.CompensatedSuffix, Msg: msg})
	}
	if wire.ConsumerOf(b.o.Prefix, d.Queue) != "" {
		// A copy of the message may still be on its way there.
		ps = append(ps, link.Publication{Exchange: b.QueuesExchange(), Key: d.Queue, Mandatory: b.c.Rolling,
			Old: b.c.Rolling, Msg: msg})
	}
	errs := b.c.Pub.All(ctx, ps, fault.NotifyBeforeConfirm)
	for i, err := range errs {
		if errors.Is(err, holdfast.ErrUnroutable) { // the consumer's queue is gone
			errs[i] = nil
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("compensation notice for %s: %w", d.ID, err)
	}
	return nil
}
