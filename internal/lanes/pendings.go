package lanes

import (
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// registry holds the pending transactions of this process.
type registry struct {
	mu      sync.Mutex
	byID    map[string]*Pending
	ended   []endedPending // in the order of their end
	keepFor time.Duration
	keepMax int
}

type endedPending struct {
	id string
	at time.Time
}

func newRegistry(keepFor time.Duration, keepMax int) *registry {
	return &registry{byID: map[string]*Pending{}, keepFor: keepFor, keepMax: keepMax}
}

// add enters p; an ID that is there already is refused.
func (r *registry) add(p *Pending) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.byID[p.id()]; there {
		return fmt.Errorf("%w: %s was sent by this process before: use a new ID for new work", holdfast.ErrDuplicate, p.id())
	}
	r.byID[p.id()] = p
	return nil
}

func (r *registry) get(txID string) *Pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[txID]
}

// end marks the caller of p as answered: p is kept a little longer, so that a
// step that is run again gets the first run's answer. Afterwards the outcome row
// gives it.
func (r *registry) end(p *Pending, now time.Time) {
	p.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = append(r.ended, endedPending{p.id(), now})
	n := 0
	for n < len(r.ended) && (len(r.ended)-n > r.keepMax || now.Sub(r.ended[n].at) > r.keepFor) {
		delete(r.byID, r.ended[n].id)
		n++
	}
	r.ended = r.ended[n:]
}

// forget removes p, whose workflow was not started, so that its ID can be used
// again.
func (r *registry) forget(p *Pending) {
	p.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, p.id())
}
