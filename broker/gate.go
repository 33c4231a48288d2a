package broker

import (
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// gate is a breaker for many goroutines, with a clock.
type gate struct {
	// changed has a token after each change of state. It is read by the
	// session's goroutine, which fetches accordingly.
	changed chan struct{}
	// tell is called after each change, one call at a time and in order.
	tell func(change)

	mu      sync.Mutex
	b       breaker
	changes []change // not yet told

	telling sync.Mutex
}

// change is a change of a breaker's state.
type change struct {
	from, to string
	pause    time.Duration // to open
	err      error         // the last failure
}

func newGate(o BreakerOptions, tell func(change)) *gate {
	return &gate{changed: make(chan struct{}, 1), tell: tell, b: newBreaker(o)}
}

// enter asks what is to be done with a delivery.
func (g *gate) enter(m candidate) (era uint64, e entry) {
	g.mu.Lock()
	if g.b.state == wire.BreakerClosed {
		defer g.mu.Unlock()
		return g.b.era, entryTry
	}
	before := g.look()
	era, e = g.b.enter(m, time.Now())
	g.unlock(before)
	return era, e
}

func (g *gate) leave(era uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.b.leave(era)
}

func (g *gate) renew() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.b.renew()
}

// counts reports whether a failure in era counts against its message now.
func (g *gate) counts(era uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.counts(era)
}

func (g *gate) success(era uint64, id string) {
	g.mu.Lock()
	before := g.look()
	g.b.success(era, id, time.Now())
	g.unlock(before)
}

// failure notes a failure and reports whether it counts against its message:
// not if the breaker is open, or was since the delivery began.
func (g *gate) failure(era uint64, id string, waits bool, err error) (counts bool) {
	g.mu.Lock()
	before := g.look()
	g.b.failure(era, id, waits, err, time.Now())
	counts = g.b.counts(era)
	g.unlock(before)
	return counts
}

// mode is the state now, whether messages are tried, and when that changes by itself.
func (g *gate) mode() (state string, fetches bool, wake time.Time) {
	g.mu.Lock()
	before := g.look()
	g.b.tick(time.Now())
	state, fetches, wake = g.b.state, g.b.fetches(), g.b.wake()
	g.unlock(before)
	return state, fetches, wake
}

// isOpen reports whether nothing may be tried now.
func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.state == wire.BreakerOpen
}

// status is the state for people.
func (g *gate) status() (state string, since time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.b.state == wire.BreakerClosed {
		return g.b.state, g.b.since, nil
	}
	return g.b.state, g.b.since, g.b.err
}

// waits says since when messages wait for what their handler needs, and none was
// handled; the zero time: they do not, or the last of these errors is older than fresh.
func (g *gate) waits(fresh time.Duration) (since time.Time, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w := g.b.waiting; time.Since(w.last) <= fresh {
		return w.began, w.why
	}
	return time.Time{}, nil
}

// looked is what others have to know of a breaker.
type looked struct {
	state   string
	fetches bool
}

// look is called with mu held.
func (g *gate) look() looked { return looked{g.b.state, g.b.fetches()} }

// next is when an open breaker tries something again; zero: it is not open.
func (g *gate) next() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.wake()
}

// unlock unlocks mu and tells of a change.
func (g *gate) unlock(before looked) {
	now := g.look()
	if now == before {
		g.mu.Unlock()
		return
	}
	if now.state != before.state {
		g.changes = append(g.changes, change{from: before.state, to: now.state, pause: g.b.pause, err: g.b.err})
	}
	g.mu.Unlock()
	link.Token(g.changed)
	g.telling.Lock()
	defer g.telling.Unlock()
	g.mu.Lock()
	changes := g.changes
	g.changes = nil
	g.mu.Unlock()
	for _, c := range changes {
		g.tell(c)
	}
}
