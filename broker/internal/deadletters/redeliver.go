package deadletters

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Redeliver puts a dead letter back into the queue that it died in, and returns once
// RabbitMQ has confirmed it.
func Redeliver(ctx context.Context, c *link.Client, r wire.RedeliverRequest) error {
	if err := redeliverable(c.Prefix, &r); err != nil {
		return holdfast.Permanent(fmt.Errorf("redeliver %s: %w", r.Letter.ID, err))
	}
	ctx, cancel := c.Timeout(ctx)
	defer cancel()
	queue := r.Letter.Queue
	msg, exchange := wire.EncodeRedelivery(c.Prefix, &r), c.QueuesExchange()
	if wire.GroupOf(c.Prefix, queue) != "" {
		exchange = c.HalfExchangeOf(msg.Headers)
	}
	p := link.Publication{Exchange: exchange, Key: queue, Mandatory: true, Old: c.Rolling, Msg: msg}
	wire.Squeeze(&p.Msg, c.Publishing.Limits().Room())
	err := c.Pub.One(ctx, &p, "")
	if errors.Is(err, holdfast.ErrUnroutable) {
		return fmt.Errorf("redeliver %s: %w: the queue %s does not exist: start the consumer or producer that it "+
			"belongs to, which makes it, and redeliver then, or discard the message",
			r.Letter.ID, holdfast.ErrUnroutable, queue)
	}
	if err != nil {
		return fmt.Errorf("redeliver %s to %s: %w", r.Letter.ID, queue, err)
	}
	return nil
}

// redeliverable says why a redelivery can never work.
func redeliverable(prefix string, r *wire.RedeliverRequest) error {
	l := &r.Letter
	ofConsumer := wire.ConsumerOf(prefix, l.Queue) != ""
	switch {
	case r.N < 1:
		return fmt.Errorf("%w: a redelivery has a number from 1, not %d", holdfast.ErrInvalid, r.N)
	case !ofConsumer && wire.GroupOf(prefix, l.Queue) == "":
		return fmt.Errorf("%w: it comes from %q, which is no consumer's queue and no half queue of the prefix %q: "+
			"nobody knows whom it is for; publish it anew where it belongs, then discard it",
			holdfast.ErrInvalid, l.Queue, prefix)
	case !ofConsumer && l.Envelope.Headers[wire.HeaderClaim] != "":
		return fmt.Errorf("%w: it claims to be a record of kind %q, but did not come through Holdfast's exchange, "+
			"and would not count again: discard it; what an op record settles is checked back",
			holdfast.ErrInvalid, wire.Clip(l.Envelope.Headers[wire.HeaderClaim], 64))
	case l.Kept != "":
		return fmt.Errorf("%w: it has %d bytes, and only their beginning is in the workflow; the whole message is "+
			"in the queue %s: move it from there to %s, with a shovel or the management UI, and discard this "+
			"dead letter",
			holdfast.ErrTooLarge, l.Size, l.Kept, l.Queue)
	case ofConsumer && l.Envelope.MessageID == "" && l.Failure.Class == holdfast.ClassMalformed:
		return fmt.Errorf("%w: it has no message-id, and would die again for that: publish it anew with one, then "+
			"discard it", holdfast.ErrInvalid)
	case r.Edited && r.Operator == "":
		return fmt.Errorf("%w: an edited redelivery needs its operator's name", holdfast.ErrInvalid)
	case r.Edited && len(r.OriginalSHA256) != 64:
		return fmt.Errorf("%w: an edited redelivery needs the SHA-256 of the body before the edit, in hex",
			holdfast.ErrInvalid)
	case r.Edited && len(r.Body) > holdfast.MaxBody:
		return fmt.Errorf("%w: the new body has %d bytes, the limit is %d", holdfast.ErrTooLarge, len(r.Body),
			holdfast.MaxBody)
	}
	return nil
}
