package topology

import (
	"context"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// others are the remembered consumers that this process has not declared itself.
func (t *Maker) others() []wire.Bound {
	all := t.memory.All(time.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(all, func(c wire.Bound) bool { _, own := t.consumers[c.Name]; return own })
}

// OwnQueues are the durable queues that this process has declared.
func (t *Maker) OwnQueues() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.groups)+len(t.consumers)+len(t.replies) > 0 {
		names = append(names, t.c.DeadQueue())
	}
	for g := range t.groups {
		names = append(names, t.c.HalfQueues(g)...)
	}
	for g := range t.replies {
		names = append(names, t.c.ReplyQueue(g))
	}
	for c := range t.consumers {
		names = append(names, t.c.ConsumerQueue(c), t.c.AloneQueue(c))
	}
	return names
}

func (t *Maker) queuesOf(cs []wire.Bound) (names []string) {
	for _, c := range cs {
		names = append(names, t.c.ConsumerQueue(c.Name), t.c.AloneQueue(c.Name))
	}
	return names
}

// bindSteps are a remembered consumer's bindings.
func (t *Maker) bindSteps(c wire.Bound) (steps []Step) {
	to, queue := c.Bindings(), t.c.ConsumerQueue(c.Name)
	for exchange, topics := range map[string][]string{t.c.TopicsExchange(): to.Topics,
		t.c.NoticesExchange(): to.Noticed()} {
		for _, topic := range topics {
			steps = append(steps, bindStep(queue, topic, exchange))
		}
	}
	return Briefly(steps...)
}

// bindAgain makes sure of remembered consumers' bindings: RabbitMQ cannot be
// asked for them. A user who may not bind leaves that to the consumer.
func (t *Maker) bindAgain(ctx context.Context, conn *amqp.Connection, steps []Step) {
	if t.o.NoDeclare {
		return
	}
	err := t.each(ctx, conn, steps, func(s Step, err error) (bool, error) {
		t.c.Log.Debug("a known consumer's queue could not be bound again", "what", s.What, "error", err)
		return false, nil
	})
	if err != nil {
		t.c.Log.Debug("known consumers' queues were not all bound again", "error", err)
	}
}

// seekEvery is how often returned messages may have queues looked for.
const seekEvery = 10 * time.Second

// WorthSeeking reports whether a consumer whose queue may be made again wants
// messages of this topic, though nobody gets them.
func (t *Maker) WorthSeeking(topic string) bool {
	if !slices.ContainsFunc(t.memory.Wants(topic), func(c wire.Bound) bool { return c.Age <= RememberFor }) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.sought) < seekEvery {
		return false
	}
	t.sought = time.Now()
	return true
}
