package topology

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// replyTTL is how long a reply waits in a process's queue. Nobody waits in
	// memory for longer.
	replyTTL = 5 * time.Second
	// replyExpires is how long a process's queue stays when nobody consumes it.
	replyExpires = time.Minute
)

// replySteps declare a durable reply queue.
func (t *Maker) replySteps(queue string) []Step {
	return []Step{queueStep(queue, t.Guarded()), bindStep(queue, queue, t.c.RepliesExchange())}
}

// InstanceReplySteps declare a process's reply queue. It is not exclusive: after a
// lost connection RabbitMQ may take that one for alive for a while, and refuse the
// queue to the next.
func (t *Maker) InstanceReplySteps(queue, durable string) []Step {
	return Briefly(ExchangeStep(t.c.RepliesExchange(), amqp.ExchangeDirect, nil), queueStep(queue, amqp.Table{
		"x-queue-type":              "classic",
		"x-expires":                 replyExpires.Milliseconds(),
		"x-message-ttl":             replyTTL.Milliseconds(),
		"x-dead-letter-exchange":    "",
		"x-dead-letter-routing-key": durable,
	}), bindStep(queue, queue, t.c.RepliesExchange()))
}

// DeclareReplies makes the durable reply queue of a group. It is remembered like a
// group.
func (t *Maker) DeclareReplies(ctx context.Context, group string) error {
	if err := t.Declare(ctx, t.BaseSteps(), t.replySteps(t.c.ReplyQueue(group))); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replies[group] = true
	return nil
}

// HasReplies reports whether this process takes the replies of a group.
func (t *Maker) HasReplies(group string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.replies[group]
}
