package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Consume declares a consumer's queue and runs its handler until ctx is done;
// then it takes no further delivery, gives back those that were not begun, lets
// the running handlers finish for DrainTimeout, ends their contexts, gives back
// what they could not finish, and returns nil. It goes on by itself after lost
// connections. An error means wrong options, a queue that exists with other
// arguments, a closed Broker, or a handler that ignores its context.
func (b *Broker) Consume(ctx context.Context, o Subscription) error {
	h := consumerHost{Client: b.c, Limit: b.o.ConsumerTimeout, Declare: b.declareConsumer, Show: b.showConsumer, Patience: b.patience}
	return consume(ctx, h, o)
}

// Probe has the processes of the consumers try a message at once where their circuit
// breaker is open, and asks like [Broker.Ask]: the answers tell how the consumers were
// right after that. A process of a version that does not know of it answers, too, and does
// nothing. A breaker whose message fails pauses as long as after any other probe.
func (b *Broker) Probe(ctx context.Context, wait time.Duration, consumers ...string) ([]wire.ProcessStatus, error) {
	if len(consumers) == 0 || len(consumers) > wire.MaxProbe {
		return nil, fmt.Errorf("%w: probe %d consumers: want 1 to %d", holdfast.ErrInvalid, len(consumers), wire.MaxProbe)
	}
	return b.ask(ctx, wait, wire.StatusRequest{Consumers: true, Probe: consumers})
}
