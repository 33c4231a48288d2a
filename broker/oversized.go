package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

const (
	// maxLetter is how large a dead letter may be as JSON: Temporal refuses
	// payloads of 2 MiB. A body of holdfast.MaxBody takes two thirds of that.
	maxLetter = 1536 << 10
	// What is left of an oversized message in its dead letter.
	keptBody    = 4 << 10
	keptHeaders = 16 << 10
)

// OversizedQueue is the name of the queue that keeps dead messages which are too
// large for a workflow.
func (b *Broker) OversizedQueue() string { return b.DeadQueue() + oversizedName }

// oversized reports whether a dead letter is too large for a workflow.
func oversized(l *holdfast.DeadLetter, maxBody int) bool {
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
	if len(l.Message.Body)/3*4+rest <= maxLetter {
		return false
	}
	text, err := json.Marshal(l)
	return err != nil || len(text) > maxLetter
}

// keep makes an oversized dead letter small: it stores the whole message in the
// queue of oversized ones, then puts a record with the message's beginning into
// the queue of dead letters. The delivery may be acknowledged after that. If the
// process dies in between, both are stored again: the second copy of the whole
// message is harmless, and the second record has the same ID.
func (b *Broker) keep(ctx context.Context, d *amqp.Delivery, l *holdfast.DeadLetter, maxBody int) error {
	whole := wholeMessage(d, l)
	squeeze(&whole, b.pubLink.limits().room())
	timed, cancel := b.timeout(ctx)
	defer cancel()
	p := publication{exchange: b.queuesExchange(), key: b.OversizedQueue(), mandatory: true, repair: true, old: b.o.RollingUpgrade, msg: whole}
	if err := b.pub.one(timed, &p, ""); err != nil {
		return fmt.Errorf("keep the oversized message %s in %s: %w", l.ID, b.OversizedQueue(), err)
	}
	if err := b.publishDead(ctx, beginning(d, l, b.OversizedQueue(), maxBody)); err != nil {
		return err
	}
	fault.Point(fault.DeadKeptBeforeAck)
	return nil
}

// wholeMessage is the message as it was before it died, with the headers that
// say whose it is and why it is dead. Those of its retries are left out: where it
// is moved back to its consumer's queue, it begins anew.
func wholeMessage(d *amqp.Delivery, l *holdfast.DeadLetter) amqp.Publishing {
	msg := republish(d)
	maps.DeleteFunc(msg.Headers, func(name string, _ any) bool { return ofDeath(name) })
	about := aboutDeath(l)
	maps.DeleteFunc(about, func(name string, _ any) bool {
		switch name {
		case headerAttempts, headerLog, headerPolicy, headerRedelivery:
			return true
		}
		return false
	})
	if headersSize(msg.Headers)+headersSize(about) <= maxDeadHeaders {
		maps.Copy(msg.Headers, about)
	}
	return msg
}

// beginning is the record that stands for an oversized message.
func beginning(d *amqp.Delivery, l *holdfast.DeadLetter, kept string, maxBody int) amqp.Publishing {
	msg := republish(d)
	cutTo(msg.Headers, keptHeaders)
	maps.Copy(msg.Headers, aboutDeath(l))
	msg.Headers[headerKept], msg.Headers[headerWholeSize], msg.Headers[headerLetter] = kept, strconv.Itoa(l.Size), l.ID
	msg.Body = firstBytes(d.Body, min(keptBody, maxBody))
	return msg
}

// firstBytes returns at most n bytes of body: of text, whole characters.
func firstBytes(body []byte, n int) []byte {
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

// toTail puts a record behind all others of the queue of dead letters. What
// RabbitMQ dropped becomes a record of ours with that: it would not leave the
// header x-death in what a client publishes.
func (b *Broker) toTail(ctx context.Context, d *amqp.Delivery, l *holdfast.DeadLetter) error {
	msg := republish(d)
	if l != nil {
		about := aboutDeath(l)
		if l.Kept != "" {
			about[headerKept], about[headerWholeSize] = l.Kept, strconv.Itoa(l.Size)
		}
		maps.Copy(msg.Headers, about)
	}
	return b.publishDead(ctx, msg)
}

// republish is a delivery to be published once more: its body, properties and
// headers as they are, except what RabbitMQ added, and what it would act on.
func republish(d *amqp.Delivery) amqp.Publishing {
	msg := sameAs(d)
	if d.Expiration != "" {
		msg.Headers[headerExpiration] = d.Expiration
	}
	if d.UserId != "" {
		msg.Headers[headerUserID] = d.UserId
	}
	return msg
}

// aboutDeath are the headers from which decodeDead reads the same again.
func aboutDeath(l *holdfast.DeadLetter) amqp.Table {
	f := &l.Failure
	h := amqp.Table{
		headerQueue:      l.Queue,
		headerErrorClass: string(f.Class),
		headerReason:     f.Reason,
		headerAttempts:   strconv.Itoa(f.Attempts),
		headerDeadAt:     f.At.UTC().Format(time.RFC3339Nano),
		headerExchange:   l.Envelope.Exchange,
		headerRoutingKey: l.Envelope.RoutingKey,
	}
	set := func(name, value string, there bool) {
		if there {
			h[name] = value
		}
	}
	set(headerConsumer, f.Consumer, f.Consumer != "")
	set(headerPolicy, l.Policy.String(), l.Policy.String() != "")
	set(headerRedelivery, strconv.Itoa(f.Redelivery), f.Redelivery > 0)
	set(headerLetter, l.ID, l.ID != l.Envelope.MessageID)
	if len(f.Log) > 0 {
		log, err := json.Marshal(f.Log)
		set(headerLog, string(log), err == nil)
	}
	return h
}

// headersSize is what headers take in a frame.
func headersSize(headers amqp.Table) int {
	total := 0
	for _, size := range headerSizes(headers) {
		total += size
	}
	return total
}

func headerSizes(headers amqp.Table) map[string]int {
	sizes := make(map[string]int, len(headers))
	for name, value := range headers {
		sizes[name] = sizeOf(name, value)
	}
	return sizes
}

// sizeOf is what one header takes in its frame.
func sizeOf(name string, value any) int { return 1 + len(name) + fieldSize(value) }

// fieldSize is a value's part of that: its type, and its length where that varies.
func fieldSize(value any) int {
	switch v := value.(type) {
	case nil:
		return 1
	case bool, int8, uint8:
		return 2
	case int16, uint16:
		return 3
	case int, int32, uint32, float32:
		return 5
	case amqp.Decimal:
		return 6
	case int64, float64, time.Time:
		return 9
	case []byte:
		return 5 + len(v)
	case []any:
		size := 5
		for _, e := range v {
			size += fieldSize(e)
		}
		return size
	case amqp.Table:
		size := 5
		for name, e := range v {
			size += sizeOf(name, e)
		}
		return size
	}
	return 5 + len(headerText(value)) // text; nothing else can be read or written
}

// cutTo drops the largest headers until the others have at most limit bytes, and
// notes the names of those dropped.
func cutTo(headers amqp.Table, limit int) {
	sizes, total := headerSizes(headers), headersSize(headers)
	if total <= limit {
		return
	}
	names := slices.SortedFunc(maps.Keys(sizes), bySize(sizes))
	var gone []string
	for _, name := range names {
		if total <= limit {
			break
		}
		total -= sizes[name]
		delete(headers, name)
		gone = append(gone, clip(name, 64))
	}
	headers[headerCut] = clip(fmt.Sprint(gone), 1024)
}

// bySize orders names of headers, the largest first, the same in every copy.
func bySize(sizes map[string]int) func(a, b string) int {
	return func(a, b string) int { return cmp.Or(sizes[b]-sizes[a], strings.Compare(a, b)) }
}
