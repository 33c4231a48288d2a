package consumer

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
	tell func(Change)

	mu      sync.Mutex
	B       breaker
	held    bool     // by an operator's pause, whatever the breaker says
	changes []Change // not yet told

	telling sync.Mutex
}

// Change is a change of a breaker's state.
type Change struct {
	from, to string
	pause    time.Duration // to open
	err      error         // the last failure
}

// NewGate is a gate whose breaker is closed. tell is called after each change.
func NewGate(o BreakerOptions, tell func(Change)) *gate {
	return &gate{changed: make(chan struct{}, 1), tell: tell, B: newBreaker(o)}
}

// Enter asks what is to be done with a delivery.
func (g *gate) Enter(m Candidate) (era uint64, e entry) {
	g.mu.Lock()
	if g.B.state == wire.BreakerClosed {
		defer g.mu.Unlock()
		return g.B.era, EntryTry
	}
	before := g.look()
	era, e = g.B.enter(m, time.Now())
	g.unlock(before)
	return era, e
}

func (g *gate) leave(era uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.B.leave(era)
}

func (g *gate) renew() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.B.renew()
}

// counts reports whether a failure in era counts against its message now.
func (g *gate) counts(era uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.B.counts(era)
}

func (g *gate) success(era uint64, id string) {
	g.mu.Lock()
	before := g.look()
	g.B.success(era, id, time.Now())
	g.unlock(before)
}

// Failure notes a failure and reports whether it counts against its message:
// not if the breaker is open, or was since the delivery began.
func (g *gate) Failure(era uint64, id string, waits bool, err error) (counts bool) {
	g.mu.Lock()
	before := g.look()
	g.B.failure(era, id, waits, err, time.Now())
	counts = g.B.counts(era)
	g.unlock(before)
	return counts
}

// mode is the state now, whether messages are tried, and when that changes by itself.
func (g *gate) mode() (state string, fetches bool, wake time.Time) {
	g.mu.Lock()
	before := g.look()
	g.B.tick(time.Now())
	state, fetches, wake = g.B.state, g.B.fetches() && !g.held, g.B.wake()
	g.unlock(before)
	return state, fetches, wake
}

// isShut reports whether nothing may be tried now: the breaker is open, or somebody has paused
// the consumer.
func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held || g.B.state == wire.BreakerOpen
}

// hold has nothing tried, or ends that, and reports whether that is new.
func (g *gate) hold(held bool) (changed bool) {
	g.mu.Lock()
	changed = g.held != held
	g.held = held
	g.mu.Unlock()
	if changed {
		link.Token(g.changed)
	}
	return changed
}

// status is the state for people.
func (g *gate) status() (state string, since time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.B.state == wire.BreakerClosed {
		return g.B.state, g.B.since, nil
	}
	return g.B.state, g.B.since, g.B.err
}

// waits says since when messages wait for what their handler needs, and none was
// handled; the zero time: they do not, or the last of these errors is older than fresh.
func (g *gate) waits(fresh time.Duration) (since time.Time, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w := g.B.waiting; time.Since(w.last) <= fresh {
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
func (g *gate) look() looked { return looked{g.B.state, g.B.fetches()} }

// next is when an open breaker tries something again; zero: it is not open.
func (g *gate) next() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.B.wake()
}

// unlock unlocks mu and tells of a change.
func (g *gate) unlock(before looked) {
	now := g.look()
	if now == before {
		g.mu.Unlock()
		return
	}
	if now.state != before.state {
		g.changes = append(g.changes, Change{from: before.state, to: now.state, pause: g.B.pause, err: g.B.err})
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
