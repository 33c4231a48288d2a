package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// The states of a consumer's circuit breaker.
const (
	BreakerClosed  = "closed"  // as usual
	BreakerOpen    = "open"    // paused, because every recent delivery failed
	BreakerProbing = "probing" // one message is tried
)

// ConsumerStatus is how one process's consumer is.
type ConsumerStatus struct {
	Name string `json:"name"`
	// Breaker is the state of its circuit breaker, Since when it changed last.
	Breaker string    `json:"breaker"`
	Since   time.Time `json:"since,omitzero"`
	// Error is the last error, where the breaker is not closed.
	Error string `json:"error,omitempty"`
	// Handling counts the deliveries in work.
	Handling int `json:"handling"`
}

// KeeperStatus is how one process's Keeper is.
type KeeperStatus struct {
	Group string `json:"group"`
	// Queue is the half queue's number, from 1; 0 from a process of an older
	// version, which has one.
	Queue int `json:"queue"`
	// Active says that it has got records since it subscribed last. Of several
	// Keepers only one gets any; while none has come, nobody can know which.
	Active bool `json:"active"`
	// Subscribed says that it listens to the half queue.
	Subscribed bool `json:"subscribed"`
	// Held is the number of records held, HandingOver the part of them whose
	// halves are being handed over, Undecided the number of halves among them.
	Held        int `json:"held"`
	HandingOver int `json:"handing_over"`
	Undecided   int `json:"undecided"`
	// OldestAge is how long it has held its oldest undecided half, 0 if it holds
	// none; CheckAfter is the age at which it hands halves over. Both are
	// nanoseconds in JSON.
	OldestAge  time.Duration `json:"oldest_age"`
	CheckAfter time.Duration `json:"check_after"`
	KeeperCounts
	// FailingSince is since when no hand-over has succeeded, although some were
	// tried: Temporal is away, perhaps. LastError is why the last one failed. Both
	// are zero where hand-overs succeed, or nothing is undecided.
	FailingSince time.Time `json:"failing_since,omitzero"`
	LastError    string    `json:"last_error,omitempty"`
	// Oldest are the oldest undecided half messages, where [Broker.Peek] asked.
	Oldest []PeekedHalf `json:"oldest,omitempty"`
}

// ProcessStatus is the answer of one process to [Broker.Ask]: how the consumers
// and Keepers are that run on its Broker.
type ProcessStatus struct {
	// V is the version of this format: 1.
	V int `json:"v"`
	// Instance is Options.Name of the Broker that answers.
	Instance  string           `json:"instance"`
	Consumers []ConsumerStatus `json:"consumers,omitempty"`
	Keepers   []KeeperStatus   `json:"keepers,omitempty"`
	// Sagas are the definitions that are registered with the process.
	Sagas []SagaDefinition `json:"sagas,omitempty"`
}

// SagaDefinition is a saga that a process can run.
type SagaDefinition struct {
	Group   string `json:"group"`
	Name    string `json:"name"`
	Version int    `json:"version"`
	// Plan is its plan in JSON (saga/core.Plan); empty where the answer would be
	// too large with it.
	Plan json.RawMessage `json:"plan,omitempty"`
}

const (
	statusVersion   = 1
	maxStatusError  = 1 << 10  // bytes of an error's text in an answer
	maxStatusAnswer = 1 << 20  // bytes of an answer
	kindStatus      = "status" // of requests and of answers
)

func (o Options) statusExchange() string { return o.Prefix + ".status" }

// board knows the consumers and Keepers that run in this process, and has status
// requests answered while there are any.
type board struct {
	b *Broker
	// id tells this Broker's answers from those of others with the same name.
	id string

	mu    sync.Mutex
	shown map[uint64]func(*ProcessStatus, peek)
	last  uint64
	stop  context.CancelFunc // ends the answering; set while something is shown
}

func newBoard(b *Broker) *board {
	return &board{b: b, id: uuid.NewString(), shown: map[uint64]func(*ProcessStatus, peek){}}
}

// showConsumer lets answers tell of a consumer until hide is called. status is
// called from another goroutine and must return quickly.
func (b *Broker) showConsumer(status func() ConsumerStatus) (hide func()) {
	return b.board.show(func(p *ProcessStatus, _ peek) { p.Consumers = append(p.Consumers, status()) })
}

// ShowSagas lets answers tell of the process's sagas until hide is called.
func (b *Broker) ShowSagas(defs []SagaDefinition) (hide func()) {
	return b.board.show(func(p *ProcessStatus, _ peek) { p.Sagas = append(p.Sagas, defs...) })
}

// showKeeper lets answers tell of a Keeper until hide is called.
func (b *Broker) showKeeper(status func(peek) KeeperStatus) (hide func()) {
	return b.board.show(func(p *ProcessStatus, want peek) { p.Keepers = append(p.Keepers, status(want)) })
}

func (s *board) show(add func(*ProcessStatus, peek)) (hide func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	n := s.last
	s.shown[n] = add
	if len(s.shown) == 1 {
		ctx, cancel := context.WithCancel(s.b.run)
		s.stop = cancel
		s.b.spawn(func() { s.answer(ctx) }) // not on a closed Broker, where nothing runs for long
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(s.shown, n); len(s.shown) == 0 {
			s.stop()
		}
	})
}

// now asks everything that is shown.
func (s *board) now(want peek) ProcessStatus {
	s.mu.Lock()
	var shown []func(*ProcessStatus, peek)
	for _, n := range slices.Sorted(maps.Keys(s.shown)) {
		shown = append(shown, s.shown[n])
	}
	s.mu.Unlock()
	p := ProcessStatus{V: statusVersion, Instance: s.b.o.Name}
	for _, add := range shown {
		add(&p, want)
	}
	for i := range p.Consumers {
		p.Consumers[i].Error = clip(p.Consumers[i].Error, maxStatusError)
	}
	slices.SortStableFunc(p.Consumers, func(x, y ConsumerStatus) int { return cmp.Compare(x.Name, y.Name) })
	slices.SortStableFunc(p.Sagas, func(x, y SagaDefinition) int {
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Version, y.Version))
	})
	for i := range p.Keepers {
		p.Keepers[i].LastError = clip(p.Keepers[i].LastError, maxStatusError)
	}
	slices.SortStableFunc(p.Keepers, func(x, y KeeperStatus) int {
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Queue, y.Queue))
	})
	return p
}

// encodeStatus keeps an answer within maxStatusAnswer: the largest plans are left
// out. A plan that is no JSON is left out, too, rather than the answer.
func encodeStatus(p ProcessStatus) ([]byte, error) {
	p.Keepers = boundPeeks(p.Keepers, maxStatusAnswer/2)
	p.Sagas = slices.Clone(p.Sagas)
	bySize := make([]*SagaDefinition, len(p.Sagas))
	for i := range p.Sagas {
		if bySize[i] = &p.Sagas[i]; !json.Valid(p.Sagas[i].Plan) {
			p.Sagas[i].Plan = nil
		}
	}
	slices.SortStableFunc(bySize, func(x, y *SagaDefinition) int { return cmp.Compare(len(y.Plan), len(x.Plan)) })
	for {
		var body bytes.Buffer
		e := json.NewEncoder(&body)
		e.SetEscapeHTML(false) // it would make plans longer
		if err := e.Encode(p); err != nil || body.Len() <= maxStatusAnswer || len(bySize) == 0 {
			return body.Bytes(), err
		}
		for over := body.Len() - maxStatusAnswer; over > 0 && len(bySize) > 0; bySize = bySize[1:] {
			over -= len(bySize[0].Plan)
			bySize[0].Plan = nil
		}
	}
}
