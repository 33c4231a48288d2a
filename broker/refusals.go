package broker

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Why a publish was refused.
const (
	// RefusedLimit: it is longer than RabbitMQ, or AMQP, takes.
	RefusedLimit = "limit"
	// RefusedClosing: RabbitMQ closes the connection over it.
	RefusedClosing = "closing"
	// RefusedForbidden: the user may not publish there.
	RefusedForbidden = "forbidden"
	// RefusedFull: a consumer's queue is at its limit, or has no majority of its replicas.
	RefusedFull = "full"
	// RefusedUnknown: as RefusedFull, by a queue that nobody knows.
	RefusedUnknown = "unknown-queue"
	// LostConnection: no publish was refused, but the connection for them was lost.
	LostConnection = "connection-lost"
)

// Refusal is one publish that RabbitMQ did not take, or not for each of the queues.
type Refusal struct {
	// Why is one of the constants above.
	Why string
	// Message is the record's message-id, To the queue or the topic that it was for,
	// Consumer the one whose queue refused it.
	Message, To, Consumer string
	// Reason says it to people.
	Reason string
	// First says that it is the first one of its kind for a while.
	First bool
}

const (
	// refusedKept is how many records are told, and refusedFor how long.
	refusedKept = 20
	refusedFor  = time.Hour
	// fullFor is how long after its last refusal a queue counts as full, if nothing
	// was published for it since.
	fullFor = 10 * time.Minute
	// strangeFor is how long a topic counts as one for which a queue that nobody knows
	// refuses.
	strangeFor = time.Minute
)

// refusals remembers what was refused, for people and for the next publish.
type refusals struct {
	log  *slog.Logger
	tell func(Refusal)

	n  atomic.Int32 // of full: none, nearly always
	mu sync.Mutex
	// total counts the records that were refused, not queues.
	total   int
	records []wire.RefusedRecord
	full    map[string]*fullQueue // by queue, or by strangeName
}

// fullQueue is one that refuses, or did so a moment ago.
type fullQueue struct {
	wire.FullQueue
	took time.Time // when it took something again; zero while it refuses
}

func newRefusals(o linkOptions) *refusals {
	r := &refusals{log: o.Log, tell: o.OnRefused, full: map[string]*fullQueue{}}
	if r.tell == nil {
		r.tell = func(Refusal) {}
	}
	return r
}

// destination says for people where m was to go.
func destination(m *publication) string {
	if m.key == "" || m.key == m.exchange {
		return m.exchange
	}
	return strings.TrimPrefix(m.exchange+" ", " ") + m.key
}

// record notes a record that is refused for good, or for as long as nobody does
// something.
func (r *refusals) record(m *publication, why string, err error) {
	now, to := time.Now(), destination(m)
	r.mu.Lock()
	r.total++
	r.records = slices.DeleteFunc(r.records, func(x wire.RefusedRecord) bool { return now.Sub(x.Last) > refusedFor })
	i := slices.IndexFunc(r.records, func(x wire.RefusedRecord) bool { return x.Message == m.msg.MessageId && x.To == to })
	first := i < 0
	if first {
		if len(r.records) >= refusedKept {
			r.records = r.records[1:]
		}
		r.records = append(r.records, wire.RefusedRecord{Message: m.msg.MessageId, To: to, Since: now})
		i = len(r.records) - 1
	}
	x := &r.records[i]
	x.Why, x.Reason, x.Last = why, wire.Clip(strings.ToValidUTF8(err.Error(), "?"), wire.MaxReason), now
	x.Count++
	r.mu.Unlock()
	if first {
		r.log.Warn("a record is refused", "message", m.msg.MessageId, "to", to, "error", err)
	}
	r.tell(Refusal{Why: why, Message: m.msg.MessageId, To: to, Reason: x.Reason, First: first})
}

// queue notes that a queue refused m; consumer is whose it is, if it is one's.
func (r *refusals) queue(m *publication, queue, consumer string) {
	of := ""
	if consumer != "" {
		of = " of consumer " + consumer
	}
	reason := fmt.Sprintf("the queue %s%s refuses publishes: it is at its limit (max-length), or without a majority of its replicas", queue, of)
	r.refuse(queue, wire.FullQueue{Queue: queue, Consumer: consumer}, Refusal{Why: RefusedFull, Message: m.msg.MessageId, To: queue, Consumer: consumer, Reason: reason})
}

// strange notes that a queue which nobody knows refused m.
func (r *refusals) strange(m *publication) {
	reason := fmt.Sprintf("a queue that is bound for %s refuses publishes, and is of no consumer that is known here: it is at its limit (max-length), or without a majority of its replicas", m.key)
	r.refuse(strangeName(m), wire.FullQueue{Topic: m.key}, Refusal{Why: RefusedUnknown, Message: m.msg.MessageId, To: destination(m), Reason: reason})
}

func strangeName(m *publication) string { return "topic " + m.exchange + " " + m.key }

func (r *refusals) refuse(name string, begin wire.FullQueue, x Refusal) {
	now := time.Now()
	r.mu.Lock()
	q := r.full[name]
	if x.First = q == nil || now.Sub(q.last()) > fullFor; x.First {
		q = &fullQueue{FullQueue: begin}
		q.Since = now
		r.full[name] = q
	}
	q.Last, q.took = now, time.Time{}
	q.Refused++
	r.count()
	r.mu.Unlock()
	if x.First {
		r.log.Warn(x.Reason, "message", x.Message)
	}
	r.tell(x)
}

// last is when it was heard of last.
func (q *fullQueue) last() time.Time {
	if q.took.After(q.Last) {
		return q.took
	}
	return q.Last
}

// count is called with mu held.
func (r *refusals) count() {
	n := 0
	for _, q := range r.full {
		if q.took.IsZero() {
			n++
		}
	}
	r.n.Store(int32(n))
}

// held notes that what a queue refused waits elsewhere.
func (r *refusals) held(queue string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.full[queue]; q != nil {
		q.Held++
	}
}

// isStrange reports whether a queue that nobody knows refused another record for the
// same topic a moment ago.
func (r *refusals) isStrange(m *publication) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.full[strangeName(m)]
	return q != nil && q.took.IsZero() && time.Since(q.Last) < strangeFor
}

// taken notes that queues took something.
func (r *refusals) taken(queues ...string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range queues {
		if q := r.full[name]; q != nil && q.took.IsZero() {
			q.took = now
		}
	}
	maps.DeleteFunc(r.full, func(_ string, q *fullQueue) bool { return now.Sub(q.last()) > fullFor })
	r.count()
}

// show returns what people should know.
func (r *refusals) show(now time.Time) (total int, records []wire.RefusedRecord, full []wire.FullQueue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.records {
		if now.Sub(x.Last) <= refusedFor {
			records = append(records, x)
		}
	}
	for _, q := range r.full {
		if q.took.IsZero() && now.Sub(q.Last) <= fullFor {
			full = append(full, q.FullQueue)
		}
	}
	slices.SortFunc(full, func(x, y wire.FullQueue) int { return cmp.Compare(x.Queue+x.Topic, y.Queue+y.Topic) })
	return r.total, records, full
}
