package consumer

import (
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

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
	g.B.probe(time.Now())
	g.unlock(before)
}

// probeNow has the consumer's breaker try a message at once, if it is among those that are
// wanted.
func (c *Consumer) probeNow(want wire.StatusRequest) {
	if slices.Contains(want.Probe, c.O.Name) {
		c.Log.Info("somebody asks the consumer to try a message at once")
		c.Gate.probe()
	}
}
