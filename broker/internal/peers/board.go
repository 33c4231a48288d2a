// Package peers is how the processes of one prefix ask each other, and what each shows of
// itself: a Board answers status requests and learns which consumers there are, Ask asks,
// Participants tells whether a participant waits, and CheckBacks asks processes in other
// languages what became of transactions. It knows RabbitMQ's client and the Maker of queues.
package peers

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const maxTold = 64 << 10 // bytes of the names and topics of remembered consumers in an answer

// Board knows the consumers and Keepers that run in this process, and has status
// requests answered while there are any.
type Board struct {
	c      *link.Client
	topo   *topology.Maker
	memory *topology.Memory
	// ID tells this Broker's answers from those of others with the same name.
	ID string
	// once is for telling that answers are refused.
	once sync.Once

	mu    sync.Mutex
	shown map[uint64]func(*wire.ProcessStatus, wire.StatusRequest)
	last  uint64
	// news has a token when other processes should ask this one, Asked when another
	// one has said so.
	news, Asked chan struct{}
	consumers   atomic.Int64       // that are shown
	able        []chan struct{}    // get a token when a process says that it hands half messages over
	stop        context.CancelFunc // ends the answering; set while something is shown

	LearnEvery, LearnPause time.Duration // the constants; tests shorten them
}

// NewBoard shows nothing yet. It begins to answer, over c, once it does.
func NewBoard(c *link.Client, topo *topology.Maker, memory *topology.Memory, id string) *Board {
	return &Board{c: c, topo: topo, memory: memory, ID: id,
		shown: map[uint64]func(*wire.ProcessStatus, wire.StatusRequest){},
		news:  make(chan struct{}, 1), Asked: make(chan struct{}, 1)}
}

// ShowConsumer lets answers tell of a consumer until hide is called. status is called
// from another goroutine and must return quickly. probe is called with each request.
func (s *Board) ShowConsumer(status func() wire.ConsumerStatus, probe func(wire.StatusRequest)) (hide func()) {
	unprobe := s.show(func(_ *wire.ProcessStatus, want wire.StatusRequest) { probe(want) })
	remove := s.show(func(p *wire.ProcessStatus, _ wire.StatusRequest) {
		p.Consumers = append(p.Consumers,
			status())
	})
	s.consumers.Add(1)
	link.Token(s.news)
	return sync.OnceFunc(func() {
		s.consumers.Add(-1)
		remove()
		unprobe()
	})
}

// ShowSagas lets answers tell of the process's sagas until hide is called.
func (s *Board) ShowSagas(defs []wire.SagaDefinition) (hide func()) {
	return s.show(func(p *wire.ProcessStatus, _ wire.StatusRequest) { p.Sagas = append(p.Sagas, defs...) })
}

// ShowDatabases lets answers tell of the process's databases until hide is called.
// status is called from another goroutine and must return quickly.
func (s *Board) ShowDatabases(status func() []wire.DatabaseStatus) (hide func()) {
	return s.show(func(p *wire.ProcessStatus, _ wire.StatusRequest) {
		p.Databases = append(p.Databases,
			status()...)
	})
}

// ShowKeeper lets answers tell of a Keeper until hide is called.
func (s *Board) ShowKeeper(status func(wire.StatusRequest) wire.KeeperStatus) (hide func()) {
	return s.show(func(p *wire.ProcessStatus, want wire.StatusRequest) {
		p.Keepers = append(p.Keepers,
			status(want))
	})
}

// ShowTroubles lets answers tell of what is wrong with the process, until hide is
// called.
func (s *Board) ShowTroubles(troubles func() []wire.Trouble) (hide func()) {
	return s.show(func(p *wire.ProcessStatus, _ wire.StatusRequest) {
		for _, t := range troubles() {
			t.What, t.Remedy = wire.Clip(t.What, wire.MaxStatusError), wire.Clip(t.Remedy, wire.MaxStatusError)
			p.Troubles = append(p.Troubles, t)
		}
	})
}

// ShowSender lets answers tell that the process only sends for a group, until hide is
// called.
func (s *Board) ShowSender(group string) (hide func()) {
	return s.show(func(p *wire.ProcessStatus, _ wire.StatusRequest) { p.SendsFor = group })
}

// ShowNoTemporal lets answers tell that the process goes without Temporal, until hide
// is called.
func (s *Board) ShowNoTemporal() (hide func()) {
	return s.show(func(p *wire.ProcessStatus, _ wire.StatusRequest) { p.NoTemporal = true })
}

func (s *Board) show(add func(*wire.ProcessStatus, wire.StatusRequest)) (hide func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	n := s.last
	s.shown[n] = add
	if len(s.shown) == 1 {
		ctx, cancel := context.WithCancel(s.c.Run)
		s.stop = cancel
		s.c.Calls.Spawn(func() { s.answer(ctx) }) // not on a closed Broker, where nothing runs for long
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(s.shown, n); len(s.shown) == 0 {
			s.stop()
		}
	})
}

// Status asks everything that is shown.
func (s *Board) Status(want wire.StatusRequest) wire.ProcessStatus {
	s.mu.Lock()
	var shown []func(*wire.ProcessStatus, wire.StatusRequest)
	for _, n := range slices.Sorted(maps.Keys(s.shown)) {
		shown = append(shown, s.shown[n])
	}
	s.mu.Unlock()
	p := wire.ProcessStatus{V: wire.StatusVersion, Instance: s.c.Instance}
	for _, add := range shown {
		add(&p, want)
	}
	s.publishing(&p, time.Now())
	p.Signing = s.c.Signatures.Status()
	if want.Consumers {
		p = wire.ProcessStatus{V: p.V, Instance: p.Instance, Consumers: p.Consumers}
	}
	p.Remembers = told(s.memory.All(time.Now()))
	if want.Consumers {
		p.Remembers = nil
	}
	for i := range p.Consumers {
		c := &p.Consumers[i]
		c.Error, c.Unpausable = wire.Clip(c.Error, wire.MaxStatusError), wire.Clip(c.Unpausable, wire.MaxStatusError)
	}
	slices.SortStableFunc(p.Consumers, func(x, y wire.ConsumerStatus) int { return cmp.Compare(x.Name, y.Name) })
	slices.SortStableFunc(p.Sagas, func(x, y wire.SagaDefinition) int {
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Version, y.Version))
	})
	for i := range p.Keepers {
		p.Keepers[i].LastError = wire.Clip(p.Keepers[i].LastError, wire.MaxStatusError)
		p.Keepers[i].Unable = wire.Clip(p.Keepers[i].Unable, wire.MaxStatusError)
	}
	slices.SortStableFunc(p.Keepers, func(x, y wire.KeeperStatus) int {
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Queue, y.Queue))
	})
	return p
}

// told are those of the remembered consumers that an answer has room for.
func told(all []wire.Bound) (out []wire.Bound) {
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

// publishing tells of the process's publishes.
func (s *Board) publishing(p *wire.ProcessStatus, now time.Time) {
	if s.c.Pub == nil {
		return
	}
	_, p.Refused, p.Full = s.c.Pub.Refused.Show(now)
	for _, l := range []struct {
		role string
		link *link.Connection
	}{{wire.RolePublishing, s.c.Publishing}, {wire.RoleConsuming, s.c.Consuming}} {
		if lost, often := l.link.Lost.Recent(now); often {
			lost.Role = l.role
			p.Lost = append(p.Lost, lost)
		}
	}
}
