package topology

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// What is bound in RabbitMQ is known to RabbitMQ alone. If that comes back empty,
// a consumer whose process is away would miss what is published meanwhile, and
// nobody would see it: the message is routed to the others. So a process that
// sends remembers all consumers of its prefix, and has their queues made before it
// publishes.

const (
	// RememberFor is how long after a consumer was seen last its queue is made
	// again. Later that is left to its own process, or to a person.
	RememberFor = 30 * 24 * time.Hour
	// MaxRemembered is how many consumers are remembered.
	MaxRemembered = 1000
)

// Memory is the consumers that a Broker remembers.
type Memory struct {
	mu   sync.Mutex
	seen map[string]seenConsumer
}

type seenConsumer struct {
	topics []string
	at     time.Time // by the monotonic clock of this process
}

// NewMemory remembers nobody.
func NewMemory() *Memory { return &Memory{seen: map[string]seenConsumer{}} }

// Note remembers consumers, and reports whether that is news. What is invalid, or
// too much, is not remembered: it comes from other processes.
func (m *Memory) Note(now time.Time, cs ...wire.Bound) (news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range cs {
		old, known := m.seen[c.Name]
		if !known && len(m.seen) >= MaxRemembered || !c.Valid() {
			continue
		}
		at := now.Add(-max(c.Age, 0))
		topics := slices.Compact(slices.Sorted(slices.Values(c.Topics)))
		if known && at.Before(old.at) {
			continue
		}
		news = news || !known || !slices.Equal(topics, old.topics)
		m.seen[c.Name] = seenConsumer{topics, at}
	}
	return news
}

// Unknown are those of the consumers that are not remembered with all of these topics.
func (m *Memory) Unknown(cs []wire.Bound) (out []wire.Bound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range cs {
		old, known := m.seen[c.Name]
		if !known || slices.ContainsFunc(c.Topics, func(topic string) bool {
			return !slices.Contains(old.topics,
				topic)
		}) {
			out = append(out, c)
		}
	}
	return out
}

// Forget keeps only those for which keep says so.
func (m *Memory) Forget(keep func(name string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.seen, func(name string, _ seenConsumer) bool { return !keep(name) })
}

// All are the consumers that are remembered, by name.
func (m *Memory) All(now time.Time) (out []wire.Bound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, c := range m.seen {
		out = append(out, wire.Bound{Name: name, Topics: slices.Clone(c.topics), Age: now.Sub(c.at)})
	}
	slices.SortFunc(out, func(x, y wire.Bound) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

// Wants are those that a message with this topic is for.
func (m *Memory) Wants(topic string) (out []wire.Bound) {
	for _, c := range m.All(time.Now()) {
		if c.Matches(topic) {
			out = append(out, c)
		}
	}
	return out
}
