package broker

import (
	"context"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/sagacalls"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// PublishSagaCall publishes m, of which Topic, Key, ContentType, Headers and Body
// count, to the topics exchange and returns once RabbitMQ has confirmed it. It is
// repeated like PublishHalf: the call may be stored more than once, with the same
// ID. [holdfast.ErrUnroutable], which names the topic, is not retried here. Of an
// error that says [Unsent], no byte was written.
func (b *Broker) PublishSagaCall(ctx context.Context, call wire.SagaCall, m holdfast.Message) error {
	return b.calls.PublishCall(ctx, call, m)
}

// Unsent reports whether err says that nothing was written to RabbitMQ.
func Unsent(err error) bool { return sagacalls.Unsent(err) }

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
	return b.calls.PublishReply(ctx, call, r)
}

// InstanceReplyQueue is the name of the queue of this Broker's replies, which no
// other has. It is there while ConsumeReplies runs; its name may change when
// RabbitMQ does not give it back after a lost connection, so ask each time.
func (b *Broker) InstanceReplyQueue(group string) string { return b.calls.InstanceQueue(group) }

// PrepareReplies makes the durable queue of the replies to a group's sagas, before the
// first saga can call: a participant whose answer has nowhere to go gives the call up.
// [Broker.ConsumeReplies] makes it, too, as often as it takes.
func (b *Broker) PrepareReplies(ctx context.Context, group string) error {
	return b.calls.Prepare(ctx, group)
}

// ConsumeReplies declares the two reply queues of group and consumes both, until
// ctx is done; then it takes no further reply, lets running handlers finish for
// 10 s, ends their contexts, and returns nil. It goes on by itself after lost
// connections. An error means a wrong argument, a queue that exists with other
// arguments, a closed Broker, or a handler that ignores its context.
//
// handle is called from up to 64 goroutines for each queue, and its context ends
// after 30 s; at most 256 replies of each queue are held. nil acknowledges. After
// an error or a panic the reply comes again, after a pause that grows to 4 s, for
// ever, and perhaps to another process. The same reply may come more than once.
// What is no reply goes to the dead letters.
func (b *Broker) ConsumeReplies(ctx context.Context, group string,
	handle func(context.Context, wire.SagaReply) error) error {
	return b.calls.Consume(ctx, group, handle)
}
