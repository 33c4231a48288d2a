package broker

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

// PublishSagaReply publishes a reply to call and returns once RabbitMQ has
// confirmed it; r needs no Saga,
// Workflow, Step, Undo, Token and Topic. It goes to call.ReplyTo.
// Where that queue is not there any more, or does not take it, or is no reply
// queue of this prefix, the reply goes to call.Replies. That is never made here:
// whoever asks has it. It is repeated like PublishHalf: a reply may be stored more
// than once, and in both queues.
//
// [holdfast.ErrUnroutable]: there is no such queue; nothing was stored.
// [holdfast.ErrTooLarge]: the result has more than [MaxSagaResult]. ErrTooLarge and
// [holdfast.ErrInvalid] mean that nothing was stored, and that a repetition will
// not help.
func (b *Broker) PublishSagaReply(ctx context.Context, call wire.SagaCall, r wire.SagaReply) error {
	if wire.GroupOfReplies(b.o.Prefix, call.Replies) == "" {
		return fmt.Errorf("%w: reply to %v: its durable queue is %q: want %s.replies. and the producer group",
			holdfast.ErrInvalid, &call, wire.Clip(call.Replies, wire.MaxText), b.o.Prefix)
	}
	msg, err := wire.EncodeReply(&call, r)
	if err != nil {
		return fmt.Errorf("reply to %v: %w", &call, err)
	}
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	if wire.IsReplyQueue(b.o.Prefix, call.ReplyTo) && call.ReplyTo != call.Replies {
		if err = b.replyDirectly(ctx, call.ReplyTo, msg); err == nil {
			return nil
		}
		b.c.Log.Debug("a reply to a saga goes to the durable queue", "saga", call.Saga, "step", call.Step, "queue",
			call.Replies, "error", err)
	}
	if err := b.replyDurably(ctx, call.Replies, wire.GroupOfReplies(b.o.Prefix, call.Replies), msg); err != nil {
		return fmt.Errorf("reply to %v: %w", &call, err)
	}
	return nil
}

// replyDirectly leaves time for the durable queue.
func (b *Broker) replyDirectly(ctx context.Context, queue string, msg amqp.Publishing) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	return b.replyTo(ctx, queue, msg)
}

func (b *Broker) replyTo(ctx context.Context, queue string, msg amqp.Publishing) error {
	p := link.Publication{Exchange: b.RepliesExchange(), Key: queue, Mandatory: true, Old: b.c.Rolling, Msg: msg}
	return b.c.Pub.One(ctx, &p, fault.SagaReplyBeforeConfirm)
}

// replyTries is how often a reply is published to a queue that is not there: its
// group may be about to make it anew.
const replyTries = 3

// replyDurably does not make the queue: anybody who may publish a call could have
// queues made. A group makes its own before it asks.
func (b *Broker) replyDurably(ctx context.Context, queue, group string, msg amqp.Publishing) error {
	for n := 1; ; n++ {
		err := b.replyTo(ctx, queue, msg)
		if !errors.Is(err, holdfast.ErrUnroutable) {
			return err
		}
		if n == replyTries || !link.Sleep(ctx, topology.RemakePause) {
			return fmt.Errorf("%w: the queue %s does not exist: start a process of group %s that has sagas",
				holdfast.ErrUnroutable, queue, group)
		}
		if !b.topo.HasReplies(group) {
			continue
		}
		if err := b.topo.DeclareReplies(ctx, group); err != nil {
			b.c.Log.Debug("a reply queue could not be made", "queue", queue, "error", err)
		}
	}
}
