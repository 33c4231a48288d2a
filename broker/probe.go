package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast"
)

// Probe has the processes of the consumers try a message at once where their circuit
// breaker is open, and asks like [Broker.Ask]: the answers tell how the consumers were
// right after that. A process of a version that does not know of it answers, too, and does
// nothing. A breaker whose message fails pauses as long as after any other probe.
func (b *Broker) Probe(ctx context.Context, wait time.Duration, consumers ...string) ([]ProcessStatus, error) {
	if len(consumers) == 0 || len(consumers) > maxProbe {
		return nil, fmt.Errorf("%w: probe %d consumers: want 1 to %d", holdfast.ErrInvalid, len(consumers), maxProbe)
	}
	return b.ask(ctx, wait, peek{consumers: true, probe: consumers})
}

// probe has an open breaker try a message now, instead of when its pause is over.
func (b *breaker) probe(now time.Time) {
	if b.state == BreakerOpen {
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
func (c *consumer) probeNow(want peek) {
	if slices.Contains(want.probe, c.o.Name) {
		c.log.Info("somebody asks the consumer to try a message at once")
		c.gate.probe()
	}
}
