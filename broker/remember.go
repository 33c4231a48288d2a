package broker

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
	// rememberFor is how long after a consumer was seen last its queue is made
	// again. Later that is left to its own process, or to a person.
	rememberFor = 30 * 24 * time.Hour
	// maxRemembered is how many consumers are remembered.
	maxRemembered = 1000
)

// memory is the consumers that a Broker remembers.
type memory struct {
	mu   sync.Mutex
	seen map[string]seenConsumer
}

type seenConsumer struct {
	topics []string
	at     time.Time // by the monotonic clock of this process
}

func newMemory() *memory { return &memory{seen: map[string]seenConsumer{}} }

// note remembers consumers, and reports whether that is news. What is invalid, or
// too much, is not remembered: it comes from other processes.
func (m *memory) note(now time.Time, cs ...wire.Bound) (news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range cs {
		old, known := m.seen[c.Name]
		if !known && len(m.seen) >= maxRemembered || !c.Valid() {
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

// unknown are those of the consumers that are not remembered with all of these topics.
func (m *memory) unknown(cs []wire.Bound) (out []wire.Bound) {
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

// forget keeps only those for which keep says so.
func (m *memory) forget(keep func(name string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.seen, func(name string, _ seenConsumer) bool { return !keep(name) })
}

// all are the consumers that are remembered, by name.
func (m *memory) all(now time.Time) (out []wire.Bound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, c := range m.seen {
		out = append(out, wire.Bound{Name: name, Topics: slices.Clone(c.topics), Age: now.Sub(c.at)})
	}
	slices.SortFunc(out, func(x, y wire.Bound) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

// wants are those that a message with this topic is for.
func (m *memory) wants(topic string) (out []wire.Bound) {
	for _, c := range m.all(time.Now()) {
		if c.Matches(topic) {
			out = append(out, c)
		}
	}
	return out
}
