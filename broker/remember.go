package broker

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
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
	// maxRemembered is how many consumers are remembered, and maxBound how many
	// topics of one.
	maxRemembered = 1000
	maxBound      = 200
)

// Bound is a consumer as its own process described it.
type Bound struct {
	Name string `json:"name"`
	// Topics are what its queue is bound to; those whose compensation notices it gets
	// have "compensated:" before them.
	Topics []string `json:"topics"`
	// Age is how long ago its process was seen, at the time of asking.
	Age time.Duration `json:"age"`
}

// noticeMark is before a topic whose compensation notices a consumer gets. No topic
// has a colon where words begin, as far as people choose them.
const noticeMark = "compensated:"

// named are bindings as a list of topics.
func (to bindings) named() []string {
	out := slices.Clone(to.topics)
	for _, topic := range to.notices {
		out = append(out, noticeMark+topic)
	}
	return out
}

func (c Bound) bindings() (to bindings) {
	for _, topic := range c.Topics {
		if of, ok := strings.CutPrefix(topic, noticeMark); ok {
			to.notices = append(to.notices, of)
		} else {
			to.topics = append(to.topics, topic)
		}
	}
	return to
}

// valid reports whether a process can have described its consumer so.
func (c Bound) valid() bool {
	to := c.bindings()
	return len(c.Topics) <= maxBound && validConsumer(c.Name, slices.Concat(to.topics, to.notices)) == nil
}

// Matches reports whether a message with this topic is for the consumer.
func (c Bound) Matches(topic string) bool {
	words := strings.Split(topic, ".")
	return slices.ContainsFunc(c.Topics, func(p string) bool { return matchWords(strings.Split(p, "."), words) })
}

// matchWords is AMQP's rule: * stands for one word, # for any number of words. It
// goes back to the last # only, which is enough, so a pattern cannot make it slow.
func matchWords(pattern, words []string) bool {
	p, w, hash, from := 0, 0, -1, 0
	for w < len(words) || p < len(pattern) {
		switch {
		case p < len(pattern) && pattern[p] == "#":
			hash, from = p, w
			p++
		case p < len(pattern) && w < len(words) && (pattern[p] == "*" || pattern[p] == words[w]):
			p++
			w++
		case hash >= 0 && from < len(words):
			from++
			p, w = hash+1, from
		default:
			return false
		}
	}
	return true
}

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
func (m *memory) note(now time.Time, cs ...Bound) (news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range cs {
		old, known := m.seen[c.Name]
		if !known && len(m.seen) >= maxRemembered || !c.valid() {
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
func (m *memory) unknown(cs []Bound) (out []Bound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range cs {
		old, known := m.seen[c.Name]
		if !known || slices.ContainsFunc(c.Topics, func(topic string) bool { return !slices.Contains(old.topics, topic) }) {
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
func (m *memory) all(now time.Time) (out []Bound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, c := range m.seen {
		out = append(out, Bound{Name: name, Topics: slices.Clone(c.topics), Age: now.Sub(c.at)})
	}
	slices.SortFunc(out, func(x, y Bound) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

// wants are those that a message with this topic is for.
func (m *memory) wants(topic string) (out []Bound) {
	for _, c := range m.all(time.Now()) {
		if c.Matches(topic) {
			out = append(out, c)
		}
	}
	return out
}

// Remembered are the consumers that this Broker remembers, by name: those that
// [Broker.Recall] was given, and those that [Broker.Learn] has heard of.
func (b *Broker) Remembered() []Bound { return b.memory.all(time.Now()) }

// BoundTo are the remembered consumers that messages of a topic are for.
func (b *Broker) BoundTo(topic string) []Bound { return b.memory.wants(topic) }
