package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

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

// MaxPeek is how many half messages of one Keeper Peek shows at most.
const MaxPeek = 100

const (
	headerPeek = "holdfast-peek" // of a status request: how many half messages of holdfast-group to tell
	peekNames  = 5               // topics of one half message in an answer
	// peekWait is how long a Keeper that is busy is waited for.
	peekWait = 200 * time.Millisecond
	// maxPeekRead is how many bytes of records are read for one answer.
	maxPeekRead = 8 << 20
)

// Peek asks like [Broker.Ask]; in the answers, the Keepers of group tell the
// oldest half messages that they hold, n each at most.
func (b *Broker) Peek(ctx context.Context, group string, n int, wait time.Duration) ([]ProcessStatus, error) {
	if err := validGroup(group); err != nil {
		return nil, err
	}
	if n < 1 || n > MaxPeek {
		return nil, fmt.Errorf("%w: peek at %d half messages: want 1 to %d", holdfast.ErrInvalid, n, MaxPeek)
	}
	return b.ask(ctx, wait, peek{group: group, n: n})
}

// peek is which half messages a status request wants to see; its zero value is
// none.
type peek struct {
	group string
	n     int
	// consumers wants nothing but the consumers.
	consumers bool
	// probe are the consumers whose open breakers are to try a message.
	probe []string
}

func (p peek) headers() amqp.Table {
	h := amqp.Table{headerKind: kindStatus}
	if p.consumers {
		h[headerWant] = wantConsumers
	}
	if text, err := json.Marshal(p.probe); err == nil && len(p.probe) > 0 {
		h[headerProbe] = string(text)
	}
	if p.n > 0 {
		h[headerGroup], h[headerPeek] = p.group, strconv.Itoa(p.n)
	}
	return h
}

// peekOf reads a status request.
func peekOf(h amqp.Table) peek {
	n := min(number(h[headerPeek]), MaxPeek)
	if n <= 0 {
		return peek{consumers: headerText(h[headerWant]) == wantConsumers, probe: probed(headerText(h[headerProbe]))}
	}
	return peek{group: headerText(h[headerGroup]), n: n}
}

// peekMessage is as much of a message.
type peekMessage struct {
	Topic string `json:"topic"`
}

// peekMessages is as much of a half record as Peek shows.
type peekMessages struct {
	Messages boundedList[peekMessage, ofMessages] `json:"messages"`
}

// read fills in what the record's body says; a malformed one says nothing.
func (h *PeekedHalf) read(body []byte) {
	var r peekMessages
	if len(body) == 0 || json.Unmarshal(body, &r) != nil {
		return
	}
	h.Messages = len(r.Messages)
	add := func(list []string, s string) []string {
		if s = clip(s, maxText); s == "" || len(list) == peekNames || slices.Contains(list, s) {
			return list
		}
		return append(list, s)
	}
	for _, m := range r.Messages {
		h.Topics = add(h.Topics, m.Topic)
	}
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

// peeking is Peek's question to a Keeper.
type peeking struct {
	n      int
	answer chan<- []peekedRecord // never blocks
}

// peekedRecord is a half message and the body of its record, if that is in memory.
type peekedRecord struct {
	half  PeekedHalf
	since time.Time
	body  []byte
}

// peek shows the oldest n undecided halves.
func (c *keeperCore) peek(n int) (out []peekedRecord) {
	c.trim()
	for _, held := range c.order {
		if len(out) == n {
			break
		}
		if held.state == halfGone {
			continue
		}
		p := peekedRecord{since: held.since, half: PeekedHalf{Tx: held.tx, Lane: held.lane, Tries: held.tries,
			HandingOver: held.state == halfHanding, Bytes: held.size}}
		if held.record != nil {
			p.body = held.record.Body
		}
		out = append(out, p)
	}
	return out
}

// peek asks the session for the oldest n half messages; it reads at most maxPeekRead
// bytes of records.
func (k *keeper) peek(n int) (out []PeekedHalf) {
	answer := make(chan []peekedRecord, 1)
	timer := time.NewTimer(peekWait)
	defer timer.Stop()
	select {
	case k.peeks <- peeking{n, answer}:
	case <-timer.C:
		return nil
	}
	read := 0
	for _, p := range <-answer {
		p.half.Age = time.Since(p.since)
		if read += len(p.body); read <= maxPeekRead {
			p.half.read(p.body)
		}
		out = append(out, p.half)
	}
	return out
}
