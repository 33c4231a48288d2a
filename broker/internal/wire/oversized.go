package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

const (
	// MaxLetter is how large a dead letter may be as JSON: Temporal refuses
	// payloads of 2 MiB. A body of holdfast.MaxBody takes two thirds of that.
	MaxLetter = 1536 << 10
	// What is left of an oversized message in its dead letter.
	keptBody    = 4 << 10
	keptHeaders = 16 << 10
)

// Oversized reports whether a dead letter is too large for a workflow.
func Oversized(l *holdfast.DeadLetter, maxBody int) bool {
	if l.Kept != "" {
		return false // made small already
	}
	if len(l.Message.Body) > maxBody {
		return true
	}
	// JSON makes a third more of a body, and six bytes of one at worst elsewhere;
	// headers are in it twice.
	rest := 32 << 10
	for name, value := range l.Envelope.Headers {
		rest += 12 * (len(name) + len(value))
	}
	if len(l.Message.Body)/3*4+rest <= MaxLetter {
		return false
	}
	text, err := json.Marshal(l)
	return err != nil || len(text) > MaxLetter
}

// EncodeWhole is the message as it was before it died, with the headers that
// say whose it is and why it is dead. Those of its retries are left out: where it
// is moved back to its consumer's queue, it begins anew.
func EncodeWhole(d *amqp.Delivery, l *holdfast.DeadLetter) amqp.Publishing {
	msg := Again(d)
	maps.DeleteFunc(msg.Headers, func(name string, _ any) bool { return OfDeath(name) })
	about := HeadersOfDeath(l)
	maps.DeleteFunc(about, func(name string, _ any) bool {
		switch name {
		case HeaderAttempts, HeaderLog, HeaderPolicy, HeaderRedelivery:
			return true
		}
		return false
	})
	if headersSize(msg.Headers)+headersSize(about) <= maxDeadHeaders {
		maps.Copy(msg.Headers, about)
	}
	return msg
}

// EncodeBeginning is the record that stands for an oversized message.
func EncodeBeginning(d *amqp.Delivery, l *holdfast.DeadLetter, kept string, maxBody int) amqp.Publishing {
	msg := Again(d)
	cutTo(msg.Headers, keptHeaders)
	maps.Copy(msg.Headers, HeadersOfDeath(l))
	msg.Headers[HeaderKept], msg.Headers[HeaderWholeSize], msg.Headers[HeaderLetter] = kept, strconv.Itoa(l.Size), l.ID
	msg.Body = FirstBytes(d.Body, min(keptBody, maxBody))
	return msg
}

// FirstBytes returns at most n bytes of body: of text, whole characters.
func FirstBytes(body []byte, n int) []byte {
	if len(body) <= n {
		return body
	}
	body = body[:n]
	if !utf8.Valid(body) {
		for cut := 1; cut < utf8.UTFMax && cut < n; cut++ {
			if utf8.Valid(body[:n-cut]) {
				body = body[:n-cut]
				break
			}
		}
	}
	return bytes.Clone(body) // not to hold the whole
}

// HeadersOfDeath are the headers from which DecodeDead reads the same again.
func HeadersOfDeath(l *holdfast.DeadLetter) amqp.Table {
	f := &l.Failure
	h := amqp.Table{
		HeaderQueue:      l.Queue,
		HeaderErrorClass: string(f.Class),
		HeaderReason:     f.Reason,
		HeaderAttempts:   strconv.Itoa(f.Attempts),
		HeaderDeadAt:     f.At.UTC().Format(time.RFC3339Nano),
		HeaderExchange:   l.Envelope.Exchange,
		HeaderRoutingKey: l.Envelope.RoutingKey,
	}
	set := func(name, value string, there bool) {
		if there {
			h[name] = value
		}
	}
	set(HeaderConsumer, f.Consumer, f.Consumer != "")
	set(HeaderPolicy, l.Policy.String(), l.Policy.String() != "")
	set(HeaderRedelivery, strconv.Itoa(f.Redelivery), f.Redelivery > 0)
	set(HeaderLetter, l.ID, l.ID != l.Envelope.MessageID)
	if len(f.Log) > 0 {
		log, err := json.Marshal(f.Log)
		set(HeaderLog, string(log), err == nil)
	}
	return h
}

// BeforeExpiry returns the queue that RabbitMQ took a record out of, why, and the
// record as it was there: without what x-death says of it.
func BeforeExpiry(prefix string, d *amqp.Delivery) (queue, why string, was *amqp.Delivery) {
	was = new(amqp.Delivery)
	*was = *d
	queue, why = DeadQueue(prefix), "RabbitMQ took it out of "+DeadQueue(prefix)
	list, _ := d.Headers["x-death"].([]any)
	dead, oversized := DeadQueue(prefix), DeadQueue(prefix)+".oversized"
	i := slices.IndexFunc(list, func(v any) bool {
		entry, _ := v.(amqp.Table)
		q := HeaderText(entry["queue"])
		return q == dead || q == oversized
	})
	if i < 0 {
		return queue, why, was
	}
	entry := list[i].(amqp.Table) // a Table, as IndexFunc has seen
	queue = HeaderText(entry["queue"])
	why = fmt.Sprintf("RabbitMQ took it out of %s because %s", queue, whyDropped(HeaderText(entry["reason"])))
	was.Exchange = HeaderText(entry["exchange"])
	if keys, ok := entry["routing-keys"].([]any); ok && len(keys) > 0 {
		was.RoutingKey = HeaderText(keys[0])
	}
	rest := slices.DeleteFunc(slices.Clone(list), func(v any) bool {
		entry, _ := v.(amqp.Table)
		q := HeaderText(entry["queue"])
		return q == dead || q == oversized || q == dead+ExpiredName
	})
	was.Headers = make(amqp.Table, len(d.Headers))
	for name, value := range d.Headers {
		if name != "x-death" && !(len(rest) == 0 && brokersOwn(name)) {
			was.Headers[name] = value
		}
	}
	if len(rest) > 0 {
		was.Headers["x-death"] = rest
	}
	return queue, why, was
}
