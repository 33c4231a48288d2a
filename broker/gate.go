package broker

import (
	"sync"
	"time"
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

func (g *gate) enter() (era uint64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.enter()
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

func (g *gate) success(era uint64) {
	g.mu.Lock()
	from := g.b.state
	g.unlock(from, g.b.success(era, time.Now()))
}

// failure notes a failure and reports whether it counts against its message:
// not if the breaker is open, or was since the delivery began.
func (g *gate) failure(era uint64, id string, waits bool, err error) (counts bool) {
	g.mu.Lock()
	from := g.b.state
	changed := g.b.failure(era, id, waits, err, time.Now())
	counts = g.b.counts(era)
	g.unlock(from, changed)
	return counts
}

// mode is the state now, and when an open breaker begins to probe.
func (g *gate) mode() (state string, until time.Time) {
	g.mu.Lock()
	from := g.b.state
	changed := g.b.tick(time.Now())
	state, until = g.b.state, g.b.until
	g.unlock(from, changed)
	return state, until
}

// isOpen reports whether nothing may be tried now.
func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.state == BreakerOpen
}

// status is the state for people.
func (g *gate) status() (state string, since time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.b.state == BreakerClosed {
		return g.b.state, g.b.since, nil
	}
	return g.b.state, g.b.since, g.b.err
}

// unlock unlocks mu and tells of a change.
func (g *gate) unlock(from string, changed bool) {
	if !changed {
		g.mu.Unlock()
		return
	}
	g.changes = append(g.changes, change{from: from, to: g.b.state, pause: g.b.pause, err: g.b.err})
	g.mu.Unlock()
	select {
	case g.changed <- struct{}{}:
	default:
	}
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
