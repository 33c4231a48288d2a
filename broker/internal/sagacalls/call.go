package sagacalls

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// PublishCall publishes m as a call, and returns once RabbitMQ has confirmed it.
func (s *Calls) PublishCall(ctx context.Context, call wire.SagaCall, m holdfast.Message) error {
	if call.Replies == "" {
		call.Replies = s.c.ReplyQueue(call.Group)
	}
	m.ID = call.MessageID()
	if err := s.validCall(&call, m); err != nil {
		return unsentError{err}
	}
	ctx, cancel := s.c.Timeout(ctx)
	defer cancel()
	p := link.Publication{Exchange: s.c.TopicsExchange(), Key: m.Topic, Mandatory: true, Msg: wire.EncodeCall(&call, m)}
	if err := s.c.Pub.One(ctx, &p, fault.SagaCallBeforeConfirm); err != nil {
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
	return errors.As(err, new(unsentError))
}

func (s *Calls) validCall(c *wire.SagaCall, m holdfast.Message) error {
	if err := wire.ValidGroup(c.Group); err != nil {
		return err
	}
	switch problem := c.Problem(s.c.Prefix); {
	case problem != "":
		return fmt.Errorf("%w: call of a saga: %s", holdfast.ErrInvalid, problem)
	case c.ReplyTo != "" && !wire.IsReplyQueue(s.c.Prefix, c.ReplyTo):
		return fmt.Errorf("%w: call of a saga: ReplyTo is %q: want InstanceReplyQueue, or none", holdfast.ErrInvalid,
			wire.Clip(c.ReplyTo, wire.MaxText))
	}
	return holdfast.ValidateMessages([]holdfast.Message{m}, s.c.MaxBody)
}
