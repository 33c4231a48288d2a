package broker

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// Whatever a connection cannot carry takes it down, and with it what everybody else
// has in flight. So every record is measured before its first byte is written.
const (
	// frameOverhead is what a frame takes beside its payload.
	frameOverhead = 8
	// headerFixed is what a content header takes beside headers and short strings: class,
	// weight, length of the body, flags, delivery mode, priority, timestamp.
	headerFixed = 24
	// wideFrame is a frame_max that the headers of every valid message fit into, whatever
	// their names.
	wideFrame = 96 << 10
)

// limits are what one connection was negotiated to carry.
type limits struct {
	// frameMax is the longest frame in bytes, its overhead included; 0 for no limit.
	frameMax int
}

// check measures the headers and properties of a record, and says why it cannot be
// written to RabbitMQ as it is.
func (l limits) check(exchange, key string, msg *amqp.Publishing) (size int, err error) {
	if len(exchange) > maxShort {
		return 0, tooLong("exchange", len(exchange))
	}
	if len(key) > maxShort {
		return 0, tooLong("routing key", len(key))
	}
	if size, err = measure(msg); err != nil {
		return size, err
	}
	return size, l.checkSize(size)
}

// checkSize is check for what was measured already.
func (l limits) checkSize(size int) error {
	if l.frameMax > 0 && size > l.frameMax-frameOverhead {
		return l.tooLarge(size, l.frameMax-frameOverhead)
	}
	return nil
}

// measure returns what the headers and properties of a record take in their frame. An
// error names what cannot be written at all.
func measure(m *amqp.Publishing) (size int, err error) {
	headers, err := tableSize(m.Headers)
	size = headerFixed + headers
	for i, s := range [...]string{m.ContentType, m.ContentEncoding, m.CorrelationId, m.ReplyTo, m.Expiration, m.MessageId, m.Type, m.UserId, m.AppId} {
		if len(s) > maxShort && err == nil {
			err = tooLong(shortProperties[i], len(s))
		}
		size += 1 + len(s)
	}
	return size, err
}

// shortProperties are AMQP's names of the properties that are short strings.
var shortProperties = [...]string{"content-type", "content-encoding", "correlation-id", "reply-to", "expiration", "message-id", "type", "user-id", "app-id"}

func tooLong(what string, n int) error {
	return fmt.Errorf("%w: the %s has %d bytes, AMQP allows %d: make it shorter", holdfast.ErrInvalid, what, n, maxShort)
}

func (l limits) tooLarge(size, limit int) error {
	return fmt.Errorf("%w: the headers and properties have %d bytes, %d fit into a frame of RabbitMQ's (frame_max is %d): move data into the body, or raise frame_max",
		holdfast.ErrTooLarge, size, limit, l.frameMax)
}

// tableSize is what headers take in their frame. An error names the header that
// cannot be written.
func tableSize(headers amqp.Table) (size int, err error) {
	size = 4
	for name, value := range headers {
		n := 0
		if text, ok := value.(string); ok {
			n = 5 + len(text)
		} else if n = fieldSize(value); !writable(value) && err == nil {
			err = fmt.Errorf("%w: the header %q has a value of type %T, or in it one, that AMQP cannot carry: write it as text", holdfast.ErrInvalid, clip(name, 64), value)
		}
		if len(name) > maxShort && err == nil {
			err = tooLong(fmt.Sprintf("name of the header %q", clip(name, 64)), len(name))
		}
		size += 1 + len(name) + n
	}
	return size, err
}

// writable reports whether amqp091 can write a header's value.
func writable(value any) bool {
	switch v := value.(type) {
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !writable(e) })
	case amqp.Table:
		for name, e := range v {
			if len(name) > maxShort || !writable(e) {
				return false
			}
		}
		return true
	case nil, string, bool, int8, uint8, int16, uint16, int32, uint32, int64, float32, float64, []byte, amqp.Decimal, time.Time:
		return true
	case int:
		return v >= math.MinInt32 && v <= math.MaxInt32 // amqp091 would cut it
	}
	return false
}

// room is how many bytes the headers and properties of a record may have, so that
// what RabbitMQ adds when it delivers, or dead-letters, fits into a frame, too: who
// reads it loses his connection otherwise.
func (l limits) room() int {
	if l.frameMax == 0 {
		return maxRetryHeaders
	}
	return min(maxRetryHeaders, l.frameMax-max(2<<10, l.frameMax/16))
}

// messages says which of a transaction's messages could not be published once it is
// committed: nothing may be committed then. It costs nothing where every valid
// message fits.
func (l limits) messages(group, tx string, ms []holdfast.Message) error {
	if l.frameMax == 0 || l.frameMax >= wideFrame {
		return nil
	}
	for i := range ms {
		msg := encodeMessage(group, tx, ms[i])
		if size, err := measure(&msg); err != nil || size > l.room() {
			return fmt.Errorf("message %d, to %s: %w", i+1, ms[i].Topic, cmp.Or(err, l.tooLarge(size, l.room())))
		}
	}
	return nil
}

// fits reports whether a copy of a delivery can be published.
func (l limits) fits(msg *amqp.Publishing) bool {
	size, err := measure(msg)
	return err == nil && size <= l.room()
}

// recordSize is what the headers and properties of a record take in their frame.
func recordSize(m *amqp.Publishing) int {
	size, _ := measure(m)
	return size
}

// squeeze makes a record of ours fit into room bytes: first what it says of the
// attempts becomes shorter, then the largest headers of the message itself are
// dropped, and named.
func squeeze(m *amqp.Publishing, room int) {
	squeezeOurs(m, room)
	if over := recordSize(m) - room; over > 0 {
		cutTheirs(m.Headers, over+maxCutNote)
	}
}

// squeezeOurs shortens what a record says of its attempts.
func squeezeOurs(m *amqp.Publishing, room int) {
	if recordSize(m) <= room {
		return
	}
	if log := readLog(m.Headers); len(log) > 2 {
		m.Headers[headerLog] = encodeLog(append(log[:1:1], log[len(log)-1]))
	}
	if reason := headerText(m.Headers[headerReason]); len(reason) > shortReason && recordSize(m) > room {
		m.Headers[headerReason] = clip(reason, shortReason)
	}
	if recordSize(m) > room {
		delete(m.Headers, headerLog)
	}
}

const (
	shortReason = 300 // of a record that has no room for more
	maxCutNote  = 300 // bytes of the header that names those that were dropped
)

// cutTheirs drops headers that are not ours, the largest first, until that saves so
// many bytes.
func cutTheirs(headers amqp.Table, save int) {
	var gone []string
	for _, name := range slices.SortedFunc(maps.Keys(headers), bySize(headerSizes(headers))) {
		if save <= 0 {
			break
		}
		if strings.HasPrefix(name, headerPrefix) && !strings.HasPrefix(name, headerUser) {
			continue
		}
		save -= sizeOf(name, headers[name])
		delete(headers, name)
		gone = append(gone, clip(name, 64))
	}
	if len(gone) > 0 {
		headers[headerCut] = clip(fmt.Sprint(gone), maxCutNote-32)
	}
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
