package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Replies to a group's sagas come in two queues. The durable one belongs to the
// group. That of a process is there for speed: the reply comes to whom a step
// waits in. It outlives a lost connection, but not its process for long; what is
// in it and is not taken within seconds, RabbitMQ moves to the durable one.

// InstanceReplyQueue is the name of the queue of this Broker's replies, which no
// other has. It is there while ConsumeReplies runs; its name may change when
// RabbitMQ does not give it back after a lost connection, so ask each time.
func (b *Broker) InstanceReplyQueue(group string) string { return b.replyNames.of(group) }

// replyNames are the names of this Broker's reply queues, by group.
type replyNames struct {
	b *Broker

	mu    sync.Mutex
	names map[string]string
}

func newReplyNames(b *Broker) *replyNames { return &replyNames{b: b, names: map[string]string{}} }

func (r *replyNames) of(group string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.names[group]; !ok {
		r.names[group] = r.make(group)
	}
	return r.names[group]
}

// renew gives the group another name.
func (r *replyNames) renew(group string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[group] = r.make(group)
}

// none has the group's durable queue take its place.
func (r *replyNames) none(group string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[group] = r.b.ReplyQueue(group)
}

// make makes a new name. The @, which is in no group's name, tells it from a
// durable queue's.
func (r *replyNames) make(group string) string {
	id := uuid.NewString()
	if name := r.b.ReplyQueue(group) + "@" + wire.NameText(r.b.o.Name) + "." + id[:8]; len(name) <= wire.MaxText {
		return name
	}
	return wire.RepliesPrefix(r.b.o.Prefix) + "@" + id
}

// PrepareReplies makes the durable queue of the replies to a group's sagas, before the
// first saga can call: a participant whose answer has nowhere to go gives the call up.
// [Broker.ConsumeReplies] makes it, too, as often as it takes.
func (b *Broker) PrepareReplies(ctx context.Context, group string) error {
	ctx, cancel := b.c.Timeout(ctx)
	defer cancel()
	return b.topo.DeclareReplies(ctx, group)
}

// errRefusedQueue means that only another name can help.
var errRefusedQueue = fmt.Errorf("%w: RabbitMQ refuses the queue", holdfast.ErrInvalid)

// errNoQueue means that this user may have no queue for this process's replies.
var errNoQueue = fmt.Errorf("%w: RabbitMQ grants no queue", holdfast.ErrInvalid)

func (b *Broker) declareInstanceReplies(ctx context.Context, group, queue string) error {
	err := b.topo.Declare(ctx, b.topo.InstanceReplySteps(queue, b.ReplyQueue(group)))
	var ae *amqp.Error
	if errors.As(err, &ae) && ae.Code == amqp.AccessRefused {
		return fmt.Errorf("%w: %w", errNoQueue, err)
	}
	if errors.Is(err, holdfast.ErrInvalid) || errors.As(err, &ae) && (ae.Code == amqp.ResourceLocked ||
		ae.Code == amqp.NotFound) {
		return fmt.Errorf("%w: %w", errRefusedQueue, err)
	}
	return err
}

// deleteReplyQueue removes a process's queue that is empty, so that later replies
// are returned and go to the durable one at once. Otherwise RabbitMQ does.
func deleteReplyQueue(ch *amqp.Channel, queue string) error {
	if _, err := ch.QueueDelete(queue, true, true, false); err != nil {
		return fmt.Errorf("delete the queue %s: %w", queue, err)
	}
	return nil
}
