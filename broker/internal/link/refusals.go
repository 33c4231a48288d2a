package link

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
	// RefusedKept is how many records are told, and RefusedFor how long.
	RefusedKept = 20
	RefusedFor  = time.Hour
	// FullFor is how long after its last refusal a queue counts as full, if nothing
	// was published for it since.
	FullFor = 10 * time.Minute
	// StrangeFor is how long a topic counts as one for which a queue that nobody knows
	// refuses.
	StrangeFor = time.Minute
)

// Refusals remembers what was refused, for people and for the next publish.
type Refusals struct {
	log  *slog.Logger
	tell func(Refusal)

	N  atomic.Int32 // of full: none, nearly always
	mu sync.Mutex
	// total counts the records that were refused, not queues.
	total   int
	Records []wire.RefusedRecord
	Full    map[string]*fullQueue // by queue, or by StrangeName
}

// fullQueue is one that refuses, or did so a moment ago.
type fullQueue struct {
	wire.FullQueue
	Took time.Time // when it took something again; zero while it refuses
}

// NewRefusals remembers nothing yet.
func NewRefusals(o Options) *Refusals {
	r := &Refusals{log: o.Log, tell: o.OnRefused, Full: map[string]*fullQueue{}}
	if r.tell == nil {
		r.tell = func(Refusal) {}
	}
	return r
}

// destination says for people where m was to go.
func destination(m *Publication) string {
	if m.Key == "" || m.Key == m.Exchange {
		return m.Exchange
	}
	return strings.TrimPrefix(m.Exchange+" ", " ") + m.Key
}

// Record notes a record that is refused for good, or for as long as nobody does
// something.
func (r *Refusals) Record(m *Publication, why string, err error) {
	now, to := time.Now(), destination(m)
	r.mu.Lock()
	r.total++
	r.Records = slices.DeleteFunc(r.Records, func(x wire.RefusedRecord) bool { return now.Sub(x.Last) > RefusedFor })
	i := slices.IndexFunc(r.Records, func(x wire.RefusedRecord) bool {
		return x.Message == m.Msg.MessageId &&
			x.To == to
	})
	first := i < 0
	if first {
		if len(r.Records) >= RefusedKept {
			r.Records = r.Records[1:]
		}
		r.Records = append(r.Records, wire.RefusedRecord{Message: m.Msg.MessageId, To: to, Since: now})
		i = len(r.Records) - 1
	}
	reason := wire.Clip(strings.ToValidUTF8(err.Error(), "?"), wire.MaxReason)
	x := &r.Records[i]
	x.Why, x.Reason, x.Last = why, reason, now
	x.Count++
	r.mu.Unlock()
	if first {
		r.log.Warn("a record is refused", "message", m.Msg.MessageId, "to", to, "error", err)
	}
	r.tell(Refusal{Why: why, Message: m.Msg.MessageId, To: to, Reason: reason, First: first})
}

// Queue notes that a queue refused m; consumer is whose it is, if it is one's.
func (r *Refusals) Queue(m *Publication, queue, consumer string) {
	of := ""
	if consumer != "" {
		of = " of consumer " + consumer
	}
	reason := fmt.Sprintf("the queue %s%s refuses publishes: it is at its limit (max-length), or without a majority "+
		"of its replicas", queue, of)
	r.refuse(queue, wire.FullQueue{Queue: queue, Consumer: consumer},
		Refusal{Why: RefusedFull, Message: m.Msg.MessageId, To: queue, Consumer: consumer, Reason: reason})
}

// Strange notes that a queue which nobody knows refused m.
func (r *Refusals) Strange(m *Publication) {
	reason := fmt.Sprintf("a queue that is bound for %s refuses publishes, and is of no consumer that is known "+
		"here: it is at its limit (max-length), or without a majority of its replicas", m.Key)
	r.refuse(StrangeName(m), wire.FullQueue{Topic: m.Key}, Refusal{Why: RefusedUnknown, Message: m.Msg.MessageId,
		To: destination(m), Reason: reason})
}

// StrangeName stands for a queue that nobody knows, among those that m goes to.
func StrangeName(m *Publication) string { return "topic " + m.Exchange + " " + m.Key }

func (r *Refusals) refuse(name string, begin wire.FullQueue, x Refusal) {
	now := time.Now()
	r.mu.Lock()
	q := r.Full[name]
	if x.First = q == nil || now.Sub(q.last()) > FullFor; x.First {
		q = &fullQueue{FullQueue: begin}
		q.Since = now
		r.Full[name] = q
	}
	q.Last, q.Took = now, time.Time{}
	q.Refused++
	r.Count()
	r.mu.Unlock()
	if x.First {
		r.log.Warn(x.Reason, "message", x.Message)
	}
	r.tell(x)
}

// last is when it was heard of last.
func (q *fullQueue) last() time.Time {
	if q.Took.After(q.Last) {
		return q.Took
	}
	return q.Last
}

// Count is called with mu held.
func (r *Refusals) Count() {
	n := 0
	for _, q := range r.Full {
		if q.Took.IsZero() {
			n++
		}
	}
	r.N.Store(int32(n))
}

// Held notes that what a queue refused waits elsewhere.
func (r *Refusals) Held(queue string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.Full[queue]; q != nil {
		q.Held++
	}
}

// IsStrange reports whether a queue that nobody knows refused another record for the
// same topic a moment ago.
func (r *Refusals) IsStrange(m *Publication) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.Full[StrangeName(m)]
	return q != nil && q.Took.IsZero() && time.Since(q.Last) < StrangeFor
}

// Taken notes that queues took something.
func (r *Refusals) Taken(queues ...string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range queues {
		if q := r.Full[name]; q != nil && q.Took.IsZero() {
			q.Took = now
		}
	}
	maps.DeleteFunc(r.Full, func(_ string, q *fullQueue) bool { return now.Sub(q.last()) > FullFor })
	r.Count()
}

// Show returns what people should know.
func (r *Refusals) Show(now time.Time) (total int, records []wire.RefusedRecord, full []wire.FullQueue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.Records {
		if now.Sub(x.Last) <= RefusedFor {
			records = append(records, x)
		}
	}
	for _, q := range r.Full {
		if q.Took.IsZero() && now.Sub(q.Last) <= FullFor {
			full = append(full, q.FullQueue)
		}
	}
	slices.SortFunc(full, func(x, y wire.FullQueue) int { return cmp.Compare(x.Queue+x.Topic, y.Queue+y.Topic) })
	return r.total, records, full
}
