package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

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

// probe has an open breaker try a message now, instead of when its pause is over.
func (b *breaker) probe(now time.Time) {
	if b.state == wire.BreakerOpen {
		b.until = now
		b.tick(now)
	}
}

// probe is the breaker's. The session notices the change.
func (g *gate) probe() {
	g.mu.Lock()
	before := g.look()
	g.b.probe(time.Now())
	g.unlock(before)
}

// probeNow has the consumer's breaker try a message at once, if it is among those that are
// wanted.
func (c *consumer) probeNow(want wire.StatusRequest) {
	if slices.Contains(want.Probe, c.o.Name) {
		c.log.Info("somebody asks the consumer to try a message at once")
		c.gate.probe()
	}
}
