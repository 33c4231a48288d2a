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

// PublishSagaCall publishes m, of which Topic, Key, ContentType, Headers and Body
// count, to the topics exchange and returns once RabbitMQ has confirmed it. It is
// repeated like PublishHalf: the call may be stored more than once, with the same
// ID. [holdfast.ErrUnroutable], which names the topic, is not retried here. Of an
// error that says [Unsent], no byte was written.
func (b *Broker) PublishSagaCall(ctx context.Context, call wire.SagaCall, m holdfast.Message) error {
	if call.Replies == "" {
		call.Replies = b.ReplyQueue(call.Group)
	}
	m.ID = call.MessageID()
	if err := b.validCall(&call, m); err != nil {
		return unsentError{err}
	}
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	p := link.Publication{Exchange: b.TopicsExchange(), Key: m.Topic, Mandatory: true, Msg: wire.EncodeCall(&call, m)}
	if err := b.c.Pub.One(ctx, &p, fault.SagaCallBeforeConfirm); err != nil {
		return fmt.Errorf("%v: %w", &call, err)
	}
	fault.Point(fault.SagaCallAfterConfirm)
	return nil
}

// unsentError is the error of what was refused before anything was written.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// Unsent reports whether err says that nothing was written to RabbitMQ.
func Unsent(err error) bool {
	var unsent unsentError
	return errors.As(err, &unsent)
}

func (b *Broker) validCall(c *wire.SagaCall, m holdfast.Message) error {
	if err := wire.ValidGroup(c.Group); err != nil {
		return err
	}
	switch problem := c.Problem(b.o.Prefix); {
	case problem != "":
		return fmt.Errorf("%w: call of a saga: %s", holdfast.ErrInvalid, problem)
	case c.ReplyTo != "" && !wire.IsReplyQueue(b.o.Prefix, c.ReplyTo):
		return fmt.Errorf("%w: call of a saga: ReplyTo is %q: want InstanceReplyQueue, or none", holdfast.ErrInvalid,
			wire.Clip(c.ReplyTo, wire.MaxText))
	}
	return holdfast.ValidateMessages([]holdfast.Message{m}, b.o.MaxBody)
}
