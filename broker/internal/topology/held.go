package topology

import (
	"context"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	// HeldFor is how long a message is held at least before RabbitMQ looks for room in
	// its consumer's queue.
	heldFor = 10 * time.Second
	// maxHeld is how many messages are held for a consumer at most. Beyond that its
	// transactions wait, each in its workflow.
	maxHeld = 100_000
)

// BoundFor are the consumers, of those that are known here, whose queues get what is
// published so.
func (t *Maker) BoundFor(exchange, key string) (names []string) {
	wants := func(to wire.Bindings) bool {
		if exchange == t.c.NoticesExchange() {
			return wire.Listens(to.Noticed(), key)
		}
		return wire.Listens(to.Topics, key)
	}
	for _, c := range t.memory.All(time.Now()) {
		if wants(c.Bindings()) {
			names = append(names, c.Name)
		}
	}
	t.mu.Lock()
	for name, to := range t.consumers {
		if wants(to) {
			names = append(names, name)
		}
	}
	t.mu.Unlock()
	slices.Sort(names)
	return slices.Compact(names)
}

// Holding makes sure that there is a queue in which messages are held for a
// consumer.
func (t *Maker) Holding(ctx context.Context, consumer string) error {
	t.mu.Lock()
	made := t.held[consumer]
	t.mu.Unlock()
	if made {
		return nil
	}
	if err := t.Declare(ctx, t.exitSteps(), t.heldSteps(consumer)); err != nil {
		return err
	}
	t.mu.Lock()
	t.held[consumer] = true
	t.mu.Unlock()
	return nil
}

// HeldAnew has it made again the next time.
func (t *Maker) HeldAnew(consumer string) {
	t.mu.Lock()
	delete(t.held, consumer)
	t.mu.Unlock()
}

// heldSteps make a delay queue of the consumer's own. RabbitMQ moves at least once: what
// the consumer's queue refuses stays here, and is tried again some minutes later.
func (t *Maker) heldSteps(consumer string) []Step {
	name := t.c.HeldQueue(consumer)
	args := t.delayed(t.HeldFor)
	args["x-max-length"] = int64(maxHeld)
	return []Step{queueStep(name, args), ExchangeStep(name, amqp.ExchangeFanout, nil), bindStep(name, "", name)}
}
