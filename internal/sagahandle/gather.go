package sagahandle

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagacohort"
)

// cohortGrace is how long after its start has been recorded a cohort still counts as in flight,
// at most, if its members have not all ended before: one that is slow does not hold up the next
// cohort for longer than the quicker half took, and cohortSlack.
const (
	cohortGrace = 1000 * time.Millisecond
	cohortSlack = 50 * time.Millisecond
)

// batch is the sagas that share a workflow.
type batch struct {
	workflow string
	members  []*sagaexpress.Run
}

// gatherer is group commit: while as many cohorts are in flight as may be, sagas gather, and
// whoever frees room takes the next ones together.
type gatherer struct {
	most  int // members of a cohort
	room  int // cohorts in flight
	id    func(id string) string
	start func(batch) // must not block

	mu       sync.Mutex
	inFlight int
	waiting  []*sagaexpress.Run // in the order of their arrival
}

// enter has r begin in a cohort: at once if there is room, or else in one with others.
func (g *gatherer) enter(r *sagaexpress.Run) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, r)
	g.next()
}

// withdraw has r not begin any more, and reports whether it still waited for that.
func (g *gatherer) withdraw(r *sagaexpress.Run) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, r)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i >= 0
}

// startAlone starts each of a cohort that could not be started in one of its own, in its place.
func (g *gatherer) startAlone(members []*sagaexpress.Run) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight += len(members) - 1
	for _, r := range members {
		g.start(batch{workflow: g.newID(), members: []*sagaexpress.Run{r}})
	}
}

func (g *gatherer) newID() string { return g.id(uuid.Must(uuid.NewV7()).String()) }

// freed says that a cohort is no longer in flight, and starts the next.
func (g *gatherer) freed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	g.next()
}

// next starts the next cohort, if there is one, and room for it. The lock is held.
func (g *gatherer) next() {
	n := together(g.waiting, g.most)
	if n == 0 || g.inFlight >= g.room {
		return
	}
	g.inFlight++
	b := batch{workflow: g.newID(), members: slices.Clone(g.waiting[:n])}
	g.waiting = slices.Delete(g.waiting, 0, n)
	g.start(b)
}

// together says how many of those that wait share the next workflow. No two of them have the
// same key: the second one finds what the first has done, or is refused.
func together(waiting []*sagaexpress.Run, most int) int {
	var load sagacohort.Load
	ids := map[string]bool{}
	for n, r := range waiting {
		m := r.Member()
		if load = load.With(m); n == most || !load.Fits() || ids[m.ID] {
			return n
		}
		ids[m.ID] = true
	}
	return len(waiting)
}

// HoldCohorts has every saga that may share a workflow gather until release is called, for tests.
func (h *Handles) HoldCohorts() (release func()) {
	g := h.gatherer
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight += g.room
	return func() {
		for range g.room {
			g.freed()
		}
	}
}

// GatheredSagas returns how many sagas wait for the next cohort, for tests.
func (h *Handles) GatheredSagas() int {
	h.gatherer.mu.Lock()
	defer h.gatherer.mu.Unlock()
	return len(h.gatherer.waiting)
}

func (h *Handles) cohortID(id string) string {
	return workflows.SagaCohortID(h.o.Prefix, h.o.Group, id)
}
