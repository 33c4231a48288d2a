package addresses

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// SkipFor is how long an address that failed is tried after all others.
const SkipFor = 30 * time.Second

// Ring says in which order a process tries its addresses. All its connections share one,
// so that they go to the same address where they can. It has no clock of its own. Its
// methods may be called from many goroutines.
type Ring struct {
	all List

	mu      sync.Mutex
	current int
	failed  []time.Time // by address; zero: it did not fail, or was used since
}

// NewRing shuffles the addresses, so that the processes of a fleet spread over them.
func NewRing(l List) *Ring {
	l = slices.Clone(l)
	rand.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] })
	return &Ring{all: l, failed: make([]time.Time, len(l))}
}

// All are the addresses, in an order of this process's own. The numbers that the other
// methods take are places in it.
func (r *Ring) All() List { return r.all }

// Order is how to try all addresses now: first the one that was used last, then those
// behind it; at the end those that failed within [SkipFor], the longest ago first.
func (r *Ring) Order(now time.Time) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	order := make([]int, len(r.all))
	for i := range order {
		order[i] = (r.current + i) % len(r.all)
	}
	skipped := func(i int) time.Time {
		if now.Sub(r.failed[i]) >= SkipFor {
			return time.Time{}
		}
		return r.failed[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return skipped(a).Compare(skipped(b)) })
	return order
}

// Used notes that a connection to an address was made: the next ones go there, too.
func (r *Ring) Used(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.failed[i] = i, time.Time{}
}

// Failed notes that an address could not be used, or that a connection to it was lost.
func (r *Ring) Failed(i int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[i] = now
}
