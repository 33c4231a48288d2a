// Package pauses keeps which consumers are paused by hand: in a stream of RabbitMQ, out of
// which every process reads all and takes nothing. Writer adds to it, Reader follows it in a
// process with consumers. A pause and its end are records that name the pause's ID, and an
// end counts wherever it stands: so each may be written twice, and in any order.
package pauses

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	version = 1
	// maxRecord is how many bytes a record has at most, maxName and maxReason how many a
	// name and a reason.
	maxRecord, maxName, maxReason = 8 << 10, 200, 2000
)

// record is a pause, or the end of one, as it is in the stream; without a pause it is a mark.
type record struct {
	V     int         `json:"v"`
	Pause *wire.Pause `json:"pause,omitempty"`
	// Mark tells a mark from others: whoever wrote it has read the stream once he sees it.
	Mark string `json:"mark,omitempty"`
}

func encode(r record) (amqp.Publishing, error) {
	r.V = version
	body, err := json.Marshal(r)
	return amqp.Publishing{Headers: amqp.Table{wire.HeaderKind: wire.KindPause}, ContentType: "application/json",
		Body: body}, err
}

// decode reads a record. What came through another exchange, is malformed or of another
// version, is none: whoever may not write to the exchange of pauses can pause nothing.
func decode(exchange string, d *amqp.Delivery) (r record, ok bool) {
	if d.Exchange != exchange || wire.HeaderText(d.Headers[wire.HeaderKind]) != wire.KindPause ||
		len(d.Body) > maxRecord || json.Unmarshal(d.Body, &r) != nil || r.V != version {
		return record{}, false
	}
	if r.Pause == nil {
		return r, r.Mark != ""
	}
	p := r.Pause
	if uuid.Validate(p.ID) != nil || wire.ConsumerName(p.Consumer) == "" {
		return record{}, false
	}
	p.By, p.Reason = wire.PlainText(p.By, maxName), wire.PlainText(p.Reason, maxReason)
	p.EndedBy, p.EndedReason = wire.PlainText(p.EndedBy, maxName), wire.PlainText(p.EndedReason, maxReason)
	return r, true
}

// known is what the stream says.
type known struct {
	pauses map[string]*kept // by ID
	bytes  int64            // of all deliveries, records or not, with what they take beside their bodies
}

// kept is a pause as the stream has it.
type kept struct {
	wire.Pause
	at int64 // after so many bytes of the stream it was written last
}

// clone is a copy that nobody changes.
func (k *known) clone() *known {
	out := newKnown()
	out.bytes = k.bytes
	for id, p := range k.pauses {
		of := *p
		out.pauses[id] = &of
	}
	return out
}

func newKnown() *known { return &known{pauses: map[string]*kept{}} }

// apply notes a record, and reports whether it changed which consumers are paused.
func (k *known) apply(r record) (changed bool) {
	if r.Pause == nil {
		return false
	}
	of := k.pauses[r.Pause.ID]
	if of == nil {
		of = &kept{Pause: *r.Pause}
		k.pauses[r.Pause.ID] = of
		changed = true
	}
	switch {
	case !r.Pause.Over:
		of.at = k.bytes
	case !of.Over:
		of.Over, of.EndedBy, of.EndedReason = true, r.Pause.EndedBy, r.Pause.EndedReason
		changed = true
	}
	return changed
}

// all are the pauses that last, of one consumer or of all for an empty name, the oldest first.
func (k *known) all(consumer string) (out []wire.Pause) {
	for _, p := range k.pauses {
		if !p.Over && (consumer == "" || p.Consumer == consumer) {
			out = append(out, p.Pause)
		}
	}
	slices.SortFunc(out, func(x, y wire.Pause) int {
		return cmp.Or(cmp.Compare(x.Consumer, y.Consumer), x.Since.Compare(y.Since), cmp.Compare(x.ID, y.ID))
	})
	return out
}

// past are the pauses that are known, those that have ended, too, the latest first.
func (k *known) past() (out []wire.Pause) {
	for _, p := range k.pauses {
		out = append(out, p.Pause)
	}
	slices.SortFunc(out, func(x, y wire.Pause) int {
		return cmp.Or(y.Since.Compare(x.Since), cmp.Compare(x.ID, y.ID))
	})
	return out
}

// aging are the pauses that last, and were written longer ago than limit bytes.
func (k *known) aging(limit int64) (out []wire.Pause) {
	for _, p := range k.all("") {
		if k.bytes-k.pauses[p.ID].at > limit {
			out = append(out, p)
		}
	}
	return out
}
