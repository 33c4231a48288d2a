package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// The states of a consumer's circuit breaker.
const (
	BreakerClosed  = "closed"  // as usual
	BreakerOpen    = "open"    // paused, because every recent delivery failed
	BreakerProbing = "probing" // one message is tried
)

const (
	StatusVersion   = 1
	MaxStatusError  = 1 << 10 // bytes of an error's text in an answer
	MaxStatusAnswer = 1 << 20 // bytes of an answer
)

// ProcessStatus is the answer of one process to Ask: how the consumers
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
	// Signing is what the process does with signatures of records; nil: nothing, or it is of
	// an older version.
	Signing *SigningStatus `json:"signing,omitempty"`
	// NoTemporal says that the process goes without Temporal, on purpose.
	NoTemporal bool `json:"no_temporal,omitempty"`
	// SendsFor is the producer group for which the process only sends; empty: it does not
	// only send.
	SendsFor string `json:"sends_for,omitempty"`
}

// Groups are the producer groups of the process, as far as it says.
func (p ProcessStatus) Groups() (names []string) {
	names = append(names, p.SendsFor)
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
	// Paused is the pause by hand that holds the consumer; nil: there is none. It is not the
	// breaker's.
	Paused *Pause `json:"paused,omitempty"`
	// Pausable says that the process heeds pauses by hand: it knows them all. An older version
	// says nothing of it, and does not. Unpausable says why it cannot know them.
	Pausable   bool   `json:"pausable,omitempty"`
	Unpausable string `json:"unpausable,omitempty"`
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

// Pause is a pause of a consumer by an operator: its processes take no message until it ends.
type Pause struct {
	// ID tells it from every other pause; it is a UUID.
	ID       string `json:"id"`
	Consumer string `json:"consumer"`
	// By is who asked for it, and Reason why.
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Since is when it was asked for and Until when it ends by itself, by the clock of whoever
	// asked: for people to read. RabbitMQ ends it. Until zero: it does not end by itself.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
	// Over says that it has ended: EndedBy somebody, because of EndedReason, or at its end.
	Over        bool   `json:"over,omitempty"`
	EndedBy     string `json:"ended_by,omitempty"`
	EndedReason string `json:"ended_reason,omitempty"`
}

// String says who paused the consumer, and why.
func (p Pause) String() string { return "paused by hand by " + p.By + ": " + p.Reason }

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
	// Oldest are the oldest undecided half messages, where Peek asked.
	Oldest []PeekedHalf `json:"oldest,omitempty"`
}

// KeeperCounts are what a Keeper counts since Keep began.
type KeeperCounts struct {
	// Matched counts halves settled by an op record, HandedOver those that
	// HandOver took, Failed those that it did not take at a try.
	Matched    uint64 `json:"matched"`
	HandedOver uint64 `json:"handed_over"`
	Failed     uint64 `json:"failed"`
	// Orphaned counts op records forgotten although halves of theirs never
	// came, Malformed the records that went to the dead letters.
	Orphaned  uint64 `json:"orphaned"`
	Malformed uint64 `json:"malformed"`
	// Ignored counts op records that did not count, because they came through
	// RabbitMQ's default exchange.
	Ignored uint64 `json:"ignored,omitempty"`
}

// PeekedHalf is an undecided half message that a Keeper holds, without the bodies
// of its messages, and without their keys: whoever may write to the status exchange
// gets it.
type PeekedHalf struct {
	Tx   string        `json:"tx"`
	Lane holdfast.Lane `json:"lane"`
	// Messages is how many messages it has; of their topics the first few distinct
	// ones are told. Both are zero where the Keeper has left the record to RabbitMQ,
	// since it holds many large ones.
	Messages int      `json:"messages"`
	Topics   []string `json:"topics,omitempty"`
	// Age is how long this Keeper has known it, in nanoseconds in JSON.
	Age time.Duration `json:"age"`
	// Tries counts the hand-overs that failed; HandingOver says that one is under
	// way.
	Tries       int  `json:"tries"`
	HandingOver bool `json:"handing_over"`
	// Bytes is the length of its record.
	Bytes int `json:"bytes"`
}

// RefusedRecord is a record that RabbitMQ refused, as doctor sees it.
type RefusedRecord struct {
	Message string    `json:"message,omitempty"`
	To      string    `json:"to"`
	Why     string    `json:"why"`
	Reason  string    `json:"reason"`
	Count   int       `json:"count"`
	Since   time.Time `json:"since"`
	Last    time.Time `json:"last"`
}

// FullQueue is a queue that refused publishes of a process, as doctor sees it.
type FullQueue struct {
	// Queue is its name; empty where nobody knows which one it is of those that are
	// bound for Topic. Consumer is whose it is.
	Queue    string `json:"queue,omitempty"`
	Consumer string `json:"consumer,omitempty"`
	Topic    string `json:"topic,omitempty"`
	// Refused counts what it refused, Held the part of that which waits elsewhere for
	// room in it.
	Refused int       `json:"refused"`
	Held    int       `json:"held"`
	Since   time.Time `json:"since"`
	Last    time.Time `json:"last"`
}

// What a connection is for.
const (
	RolePublishing = "publishing"
	RoleConsuming  = "consuming"
)

// ConnectionLosses tells of a connection to RabbitMQ that was lost several times within
// 10 minutes.
type ConnectionLosses struct {
	// Role is what it is for: publishing or consuming.
	Role string `json:"role"`
	// Count is how often, of the last 32; Since is the first time, Last the last one.
	Count int       `json:"count"`
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`
	// Reason is why it was lost the last time.
	Reason string `json:"reason"`
}

// SigningStatus is what a process does with signatures of control records, and what came
// of it since it began.
type SigningStatus struct {
	// Mode is on or required.
	Mode holdfast.Signing `json:"mode"`
	// Key is the name of the key that signed last; empty: nothing was signed yet.
	Key string `json:"key,omitempty"`
	// Refused counts the records that did not count, since their signatures do not.
	// Unsigned counts those that were taken all the same, with the mode on.
	Refused  uint64 `json:"refused,omitempty"`
	Unsigned uint64 `json:"unsigned,omitempty"`
	// Last is when there was such a record last, From the exchange through which it came,
	// and Why what is wrong with it.
	Last time.Time `json:"last,omitzero"`
	From string    `json:"from,omitempty"`
	Why  string    `json:"why,omitempty"`
}

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
	// Express says that its lane is Express.
	Express bool `json:"express,omitempty"`
	// TrustsRows says that the process starts it in a cohort without a look in Temporal.
	TrustsRows bool `json:"trusts_rows,omitempty"`
	// Plan is its plan in JSON (saga/core.Plan); empty where the answer would be
	// too large with it.
	Plan json.RawMessage `json:"plan,omitempty"`
}

// statusRecord reads an answer, whose lists are bounded.
type statusRecord struct {
	ProcessStatus
	Consumers boundedList[ConsumerStatus, ofStatus] `json:"consumers"`
	Keepers   boundedList[KeeperStatus, ofStatus]   `json:"keepers"`
	Sagas     boundedList[SagaDefinition, ofStatus] `json:"sagas"`
	Remembers boundedList[Bound, ofStatus]          `json:"remembers"`
}

// EncodeStatus keeps an answer within MaxStatusAnswer: the largest plans are left
// out. A plan that is no JSON is left out, too, rather than the answer.
func EncodeStatus(p ProcessStatus) ([]byte, error) {
	p.Keepers = boundPeeks(p.Keepers, MaxStatusAnswer/2)
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
		if err := e.Encode(p); err != nil || body.Len() <= MaxStatusAnswer || len(bySize) == 0 {
			return body.Bytes(), err
		}
		for over := body.Len() - MaxStatusAnswer; over > 0 && len(bySize) > 0; bySize = bySize[1:] {
			over -= len(bySize[0].Plan)
			bySize[0].Plan = nil
		}
	}
}

// DecodeStatus reads an answer; what is malformed, or of another version, is none.
func DecodeStatus(body []byte) (p ProcessStatus, ok bool) {
	var r statusRecord
	if len(body) > MaxStatusAnswer || json.Unmarshal(body, &r) != nil || r.V != StatusVersion {
		return p, false
	}
	p = r.ProcessStatus
	p.Consumers, p.Keepers, p.Sagas, p.Remembers = r.Consumers, r.Keepers, r.Sagas, r.Remembers
	return p, true
}

// boundPeeks leaves out the youngest half messages, as many as it takes for those
// of all Keepers to fit.
func boundPeeks(keepers []KeeperStatus, limit int) []KeeperStatus {
	size := 0
	for _, k := range keepers {
		for _, h := range k.Oldest {
			if body, err := json.Marshal(h); err == nil {
				size += len(body) + 1
			}
		}
	}
	if size <= limit {
		return keepers
	}
	keepers = slices.Clone(keepers)
	for i := range keepers {
		keepers[i].Oldest = keepers[i].Oldest[:len(keepers[i].Oldest)/2]
	}
	return boundPeeks(keepers, limit)
}

// MaxPeek is how many half messages of one Keeper Peek shows at most.
const MaxPeek = 100

const (
	peekNames = 5 // topics of one half message in an answer
	// MaxProbe is how many consumers one request may name.
	MaxProbe = 100
)

// StatusRequest is which half messages a status request wants to see; its zero value is
// none.
type StatusRequest struct {
	Group string
	N     int
	// consumers wants nothing but the consumers.
	Consumers bool
	// probe are the consumers whose open breakers are to try a message.
	Probe []string
}

func (p StatusRequest) Headers() amqp.Table {
	h := amqp.Table{HeaderKind: KindStatus}
	if p.Consumers {
		h[HeaderWant] = wantConsumers
	}
	if text, err := json.Marshal(p.Probe); err == nil && len(p.Probe) > 0 {
		h[headerProbe] = string(text)
	}
	if p.N > 0 {
		h[HeaderGroup], h[HeaderPeek] = p.Group, strconv.Itoa(p.N)
	}
	return h
}

// DecodeStatusRequest reads a status request.
func DecodeStatusRequest(h amqp.Table) StatusRequest {
	n := min(Number(h[HeaderPeek]), MaxPeek)
	if n <= 0 {
		return StatusRequest{Consumers: HeaderText(h[HeaderWant]) == wantConsumers,
			Probe: probed(HeaderText(h[headerProbe]))}
	}
	return StatusRequest{Group: HeaderText(h[HeaderGroup]), N: n}
}

// probed reads which consumers a status request wants probed.
func probed(text string) (consumers []string) {
	if text == "" || json.Unmarshal([]byte(text), &consumers) != nil || len(consumers) > MaxProbe {
		return nil
	}
	return consumers
}

// peekMessage is as much of a message.
type peekMessage struct {
	Topic string `json:"topic"`
}

// peekMessages is as much of a half record as Peek shows.
type peekMessages struct {
	Messages boundedList[peekMessage, ofMessages] `json:"messages"`
	Saga     struct {
		Name string `json:"name"`
	} `json:"saga"`
}

// Read fills in what the record's body says; a malformed one says nothing.
func (h *PeekedHalf) Read(body []byte) {
	var r peekMessages
	if len(body) == 0 || json.Unmarshal(body, &r) != nil {
		return
	}
	h.Messages = len(r.Messages)
	add := func(list []string, s string) []string {
		if s = Clip(s, MaxText); s == "" || len(list) == peekNames || slices.Contains(list, s) {
			return list
		}
		return append(list, s)
	}
	for _, m := range r.Messages {
		h.Topics = add(h.Topics, m.Topic)
	}
	if r.Saga.Name != "" {
		h.Topics = add(h.Topics, "saga/"+r.Saga.Name)
	}
}
