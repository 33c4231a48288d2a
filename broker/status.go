package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
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
	// Topics are what its queue is bound to; empty from a process of an older
	// version.
	Topics []string `json:"topics,omitempty"`
	// Breaker is the state of its circuit breaker, Since when it changed last.
	Breaker string    `json:"breaker"`
	Since   time.Time `json:"since,omitzero"`
	// Next is when an open breaker lets one message through.
	Next time.Time `json:"next,omitzero"`
	// WaitsSince is since when its messages wait for what their handler needs, such as
	// its database, and none was handled. Zero: they do not, or an older version says
	// nothing of it.
	WaitsSince time.Time `json:"waits_since,omitzero"`
	// Error is the last error, where the breaker is not closed or messages wait.
	Error string `json:"error,omitempty"`
	// Participant says that it takes calls of sagas; an older version says nothing of it.
	Participant bool `json:"participant,omitempty"`
	// Handling counts the deliveries in work.
	Handling int `json:"handling"`
	// Delays are those that its messages may wait for a try, in nanoseconds in JSON.
	Delays []time.Duration `json:"delays,omitempty"`
	// Holds is how long it may hold a message, Limit what its process knows of
	// RabbitMQ's consumer_timeout; both are nanoseconds in JSON. 0: not known.
	Holds time.Duration `json:"holds,omitzero"`
	Limit time.Duration `json:"limit,omitzero"`
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
	// Unable says why its process cannot hand over at all: it has no Temporal, or does
	// not reach it. Empty where it can.
	Unable string `json:"unable,omitempty"`
	// Oldest are the oldest undecided half messages, where [Broker.Peek] asked.
	Oldest []PeekedHalf `json:"oldest,omitempty"`
}

// ProcessStatus is the answer of one process to [Broker.Ask]: how the consumers
// and Keepers are that run on its Broker.
type ProcessStatus struct {
	// V is the version of this format: 1.
	V int `json:"v"`
	// ID tells a process's answer from those of others with its name.
	ID string `json:"-"`
	// Instance is Options.Name of the Broker that answers.
	Instance  string           `json:"instance"`
	Consumers []ConsumerStatus `json:"consumers,omitempty"`
	Keepers   []KeeperStatus   `json:"keepers,omitempty"`
	// Sagas are the definitions that are registered with the process.
	Sagas []SagaDefinition `json:"sagas,omitempty"`
	// Databases are those that the process writes Holdfast's rows in.
	Databases []DatabaseStatus `json:"databases,omitempty"`
	// Troubles are what is wrong with the process, of which nothing else tells.
	Troubles []Trouble `json:"troubles,omitempty"`
	// Lost are the connections to RabbitMQ that the process lost several times of late.
	Lost []ConnectionLosses `json:"lost,omitempty"`
	// Remembers are consumers that the process has heard of, wherever they run, or
	// ran: the first ones by name, where they are many.
	Remembers []Bound `json:"remembers,omitempty"`
	// Refused are the latest records that RabbitMQ, or a limit of its, did not take from
	// the process; Full are the queues that refuse its publishes.
	Refused []RefusedRecord `json:"refused,omitempty"`
	Full    []FullQueue     `json:"full,omitempty"`
	// NoTemporal says that the process goes without Temporal, on purpose.
	NoTemporal bool `json:"no_temporal,omitempty"`
}

// Groups are the producer groups of the process, as far as it says.
func (p ProcessStatus) Groups() (names []string) {
	for _, k := range p.Keepers {
		names = append(names, k.Group)
	}
	for _, d := range p.Databases {
		names = append(names, d.Group)
	}
	for _, s := range p.Sagas {
		names = append(names, s.Group)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// HasGroup reports whether the process is one of a producer group, as far as it says.
func (p ProcessStatus) HasGroup(group string) bool { return slices.Contains(p.Groups(), group) }

// Answers reports whether p is this Broker's own answer to [Broker.Ask].
func (b *Broker) Answers(p ProcessStatus) bool { return p.ID == b.board.id }

// DatabaseStatus is a database as one process sees it.
type DatabaseStatus struct {
	// Identity tells it from every other one.
	Identity string `json:"identity"`
	// Group is the producer group whose local transactions run in it, Consumers are
	// the consumers and participants whose effects are in it.
	Group     string   `json:"group,omitempty"`
	Consumers []string `json:"consumers,omitempty"`
	// ClockAhead is how far the process's clock is ahead of the database's; in JSON in
	// nanoseconds. Clock says what is wrong with the two, empty if nothing is.
	ClockAhead time.Duration `json:"clock_ahead"`
	Clock      string        `json:"clock,omitempty"`
}

// Trouble is something that is wrong with a process.
type Trouble struct {
	What   string    `json:"what"`
	Remedy string    `json:"remedy,omitempty"`
	Since  time.Time `json:"since,omitzero"` // zero: since it began
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
	maxTold         = 64 << 10 // bytes of the names and topics of remembered consumers in an answer
	kindStatus      = "status" // of requests and of answers
)

func (o Options) statusExchange() string { return o.Prefix + ".status" }

// board knows the consumers and Keepers that run in this process, and has status
// requests answered while there are any.
type board struct {
	b *Broker
	// id tells this Broker's answers from those of others with the same name.
	id string
	// once is for telling that answers are refused.
	once sync.Once

	mu    sync.Mutex
	shown map[uint64]func(*ProcessStatus, peek)
	last  uint64
	// news has a token when other processes should ask this one, asked when another
	// one has said so.
	news, asked chan struct{}
	consumers   atomic.Int64       // that are shown
	able        []chan struct{}    // get a token when a process says that it hands half messages over
	stop        context.CancelFunc // ends the answering; set while something is shown
}

func newBoard(b *Broker) *board {
	return &board{b: b, id: uuid.NewString(), shown: map[uint64]func(*ProcessStatus, peek){}, news: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
}

// showConsumer lets answers tell of a consumer until hide is called. status is
// called from another goroutine and must return quickly.
func (b *Broker) showConsumer(status func() ConsumerStatus) (hide func()) {
	remove := b.board.show(func(p *ProcessStatus, _ peek) { p.Consumers = append(p.Consumers, status()) })
	b.board.consumers.Add(1)
	token(b.board.news)
	return sync.OnceFunc(func() {
		b.board.consumers.Add(-1)
		remove()
	})
}

// ShowSagas lets answers tell of the process's sagas until hide is called.
func (b *Broker) ShowSagas(defs []SagaDefinition) (hide func()) {
	return b.board.show(func(p *ProcessStatus, _ peek) { p.Sagas = append(p.Sagas, defs...) })
}

// ShowDatabases lets answers tell of the process's databases until hide is called.
// status is called from another goroutine and must return quickly.
func (b *Broker) ShowDatabases(status func() []DatabaseStatus) (hide func()) {
	return b.board.show(func(p *ProcessStatus, _ peek) { p.Databases = append(p.Databases, status()...) })
}

// showKeeper lets answers tell of a Keeper until hide is called.
func (b *Broker) showKeeper(status func(peek) KeeperStatus) (hide func()) {
	return b.board.show(func(p *ProcessStatus, want peek) { p.Keepers = append(p.Keepers, status(want)) })
}

// ShowTroubles lets answers tell of what is wrong with the process, until hide is
// called.
func (b *Broker) ShowTroubles(troubles func() []Trouble) (hide func()) {
	return b.board.show(func(p *ProcessStatus, _ peek) {
		for _, t := range troubles() {
			t.What, t.Remedy = clip(t.What, maxStatusError), clip(t.Remedy, maxStatusError)
			p.Troubles = append(p.Troubles, t)
		}
	})
}

// ShowNoTemporal lets answers tell that the process goes without Temporal, until hide
// is called.
func (b *Broker) ShowNoTemporal() (hide func()) {
	return b.board.show(func(p *ProcessStatus, _ peek) { p.NoTemporal = true })
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
	s.b.publishing(&p, time.Now())
	if want.consumers {
		p = ProcessStatus{V: p.V, Instance: p.Instance, Consumers: p.Consumers}
	}
	p.Remembers = told(s.b.Remembered())
	if want.consumers {
		p.Remembers = nil
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
		p.Keepers[i].Unable = clip(p.Keepers[i].Unable, maxStatusError)
	}
	slices.SortStableFunc(p.Keepers, func(x, y KeeperStatus) int {
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Queue, y.Queue))
	})
	return p
}

// told are those of the remembered consumers that an answer has room for.
func told(all []Bound) (out []Bound) {
	room := maxTold
	for _, c := range all {
		size := len(c.Name)
		for _, topic := range c.Topics {
			size += len(topic)
		}
		if room -= size; room >= 0 {
			out = append(out, c)
		}
	}
	return out
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
