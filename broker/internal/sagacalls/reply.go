package sagacalls

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// PublishReply publishes a reply to call, to its process or else to its group, and returns
// once RabbitMQ has confirmed it.
func (s *Calls) PublishReply(ctx context.Context, call wire.SagaCall, r wire.SagaReply) error {
	if wire.GroupOfReplies(s.c.Prefix, call.Replies) == "" {
		return fmt.Errorf("%w: reply to %v: its durable queue is %q: want %s.replies. and the producer group",
			holdfast.ErrInvalid, &call, wire.Clip(call.Replies, wire.MaxText), s.c.Prefix)
	}
	msg, err := wire.EncodeReply(&call, r)
	if err != nil {
		return fmt.Errorf("reply to %v: %w", &call, err)
	}
	ctx, cancel := s.c.Timeout(ctx)
	defer cancel()
	if wire.IsReplyQueue(s.c.Prefix, call.ReplyTo) && call.ReplyTo != call.Replies {
		if err = s.replyDirectly(ctx, call.ReplyTo, msg); err == nil {
			return nil
		}
		s.c.Log.Debug("a reply to a saga goes to the durable queue", "saga", call.Saga, "step", call.Step, "queue",
			call.Replies, "error", err)
	}
	if err := s.replyDurably(ctx, call.Replies, wire.GroupOfReplies(s.c.Prefix, call.Replies), msg); err != nil {
		return fmt.Errorf("reply to %v: %w", &call, err)
	}
	return nil
}

// replyDirectly leaves time for the durable queue.
func (s *Calls) replyDirectly(ctx context.Context, queue string, msg amqp.Publishing) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	return s.replyTo(ctx, queue, msg)
}

func (s *Calls) replyTo(ctx context.Context, queue string, msg amqp.Publishing) error {
	p := link.Publication{Exchange: s.c.RepliesExchange(), Key: queue, Mandatory: true, Old: s.c.Rolling, Msg: msg}
	return s.c.Pub.One(ctx, &p, fault.SagaReplyBeforeConfirm)
}

// replyTries is how often a reply is published to a queue that is not there: its
// group may be about to make it anew.
const replyTries = 3

// replyDurably does not make the queue: anybody who may publish a call could have
// queues made. A group makes its own before it asks.
func (s *Calls) replyDurably(ctx context.Context, queue, group string, msg amqp.Publishing) error {
	for n := 1; ; n++ {
		err := s.replyTo(ctx, queue, msg)
		if !errors.Is(err, holdfast.ErrUnroutable) {
			return err
		}
		if n == replyTries || !link.Sleep(ctx, topology.RemakePause) {
			return fmt.Errorf("%w: the queue %s does not exist: start a process of group %s that has sagas",
				holdfast.ErrUnroutable, queue, group)
		}
		if !s.topo.HasReplies(group) {
			continue
		}
		if err := s.topo.DeclareReplies(ctx, group); err != nil {
			s.c.Log.Debug("a reply queue could not be made", "queue", queue, "error", err)
		}
	}
}
