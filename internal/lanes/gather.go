package lanes

import (
	"slices"
	"sync"

	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// gatherer is group commit: while as many cohorts are in flight as may be,
// transactions gather, and whoever frees room takes the next ones together.
type gatherer struct {
	prefix string
	group  string
	most   int // members of a cohort
	room   int // cohorts in flight
	start  func(*cohort)

	shortIDs bool // see transactions.Input

	mu       sync.Mutex
	inFlight int
	waiting  []*gathered // in the order of their arrival
}

// enter lets m start a cohort of its own if there is room. Otherwise m waits
// until it is taken into one.
func (g *gatherer) enter(m *gathered) *cohort {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inFlight >= g.room {
		g.waiting = append(g.waiting, m)
		return nil
	}
	return g.form([]*gathered{m})
}

// form makes a cohort of members and counts it. The lock is held.
func (g *gatherer) form(members []*gathered) *cohort {
	g.inFlight++
	c := newCohort(g, members)
	for _, m := range members {
		m.cohort = c
	}
	return c
}

// withdraw takes m out, and returns the cohort that has taken it already, or nil.
func (g *gatherer) withdraw(m *gathered) *cohort {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.cohort == nil {
		g.waiting = slices.DeleteFunc(g.waiting, func(o *gathered) bool { return o == m })
	}
	return m.cohort
}

// freed says that a cohort is no longer in flight, and starts the next.
func (g *gatherer) freed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	if n := g.next(); n > 0 {
		members := slices.Clone(g.waiting[:n])
		g.waiting = slices.Delete(g.waiting, 0, n)
		g.start(g.form(members))
	}
}

// next says how many of those that wait share the next workflow. The lock is held.
func (g *gatherer) next() int {
	load := transactions.CohortLoad{ShortIDs: g.shortIDs}
	for n, m := range g.waiting {
		if load = load.With(m.tx); n == g.most || !load.Fits() {
			return n
		}
	}
	return len(g.waiting)
}

// Hold makes every transaction gather until release is called, for tests.
func (l *Lanes) Hold() (release func()) {
	g := l.gatherer
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight += g.room
	return func() {
		for range g.room {
			g.freed()
		}
	}
}

// Gathered returns how many transactions wait for the next cohort.
func (l *Lanes) Gathered() int {
	l.gatherer.mu.Lock()
	defer l.gatherer.mu.Unlock()
	return len(l.gatherer.waiting)
}
