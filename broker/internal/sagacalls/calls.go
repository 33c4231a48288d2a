// Package sagacalls is how sagas call their participants over RabbitMQ, and how the replies
// come back: Calls publishes both, and takes the replies of a group out of two queues.
// Broker has one Calls. It knows RabbitMQ's client and the Maker of queues; what a call or a
// reply looks like is package wire's.
package sagacalls

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Replies to a group's sagas come in two queues. The durable one belongs to the
// group. That of a process is there for speed: the reply comes to whom a step
// waits in. It outlives a lost connection, but not its process for long; what is
// in it and is not taken within seconds, RabbitMQ moves to the durable one.

// Calls are the calls of sagas and their replies, over one connection with RabbitMQ.
type Calls struct {
	c          *link.Client
	topo       *topology.Maker
	replyNames replyNames

	// Hold is how long a reply is held whose handler fails. Zero means 30 s; tests shorten it.
	Hold time.Duration
}

// New needs no connections before the first call.
func New(c *link.Client, topo *topology.Maker) *Calls {
	return &Calls{c: c, topo: topo, replyNames: replyNames{c: c, names: map[string]string{}}}
}

// InstanceQueue is the name of the queue of this process's replies to a group's sagas.
func (s *Calls) InstanceQueue(group string) string { return s.replyNames.of(group) }

// Prepare makes the durable queue of the replies to a group's sagas.
func (s *Calls) Prepare(ctx context.Context, group string) error {
	ctx, cancel := s.c.Timeout(ctx)
	defer cancel()
	return s.topo.DeclareReplies(ctx, group)
}

// replyNames are the names of this process's reply queues, by group.
type replyNames struct {
	c *link.Client

	mu    sync.Mutex
	names map[string]string
}

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
	r.names[group] = r.c.ReplyQueue(group)
}

// make makes a new name. The @, which is in no group's name, tells it from a
// durable queue's.
func (r *replyNames) make(group string) string {
	id := uuid.NewString()
	if name := r.c.ReplyQueue(group) + "@" + wire.NameText(r.c.Instance) + "." + id[:8]; len(name) <= wire.MaxText {
		return name
	}
	return wire.RepliesPrefix(r.c.Prefix) + "@" + id
}

// errRefusedQueue means that only another name can help.
var errRefusedQueue = fmt.Errorf("%w: RabbitMQ refuses the queue", holdfast.ErrInvalid)

// errNoQueue means that this user may have no queue for this process's replies.
var errNoQueue = fmt.Errorf("%w: RabbitMQ grants no queue", holdfast.ErrInvalid)

func (s *Calls) declareInstanceReplies(ctx context.Context, group, queue string) error {
	err := s.topo.Declare(ctx, s.topo.InstanceReplySteps(queue, s.c.ReplyQueue(group)))
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
