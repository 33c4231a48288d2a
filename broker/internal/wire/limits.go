package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
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
	// FrameOverhead is what a frame takes beside its payload.
	FrameOverhead = 8
	// headerFixed is what a content header takes beside headers and short strings: class,
	// weight, length of the body, flags, delivery mode, priority, timestamp.
	headerFixed = 24
	// WideFrame is a frame_max that the headers of every valid message fit into, whatever
	// their names.
	WideFrame = 96 << 10
)

// Limits are what one connection was negotiated to carry.
type Limits struct {
	// FrameMax is the longest frame in bytes, its overhead included; 0 for no limit.
	FrameMax int
}

// Check measures the headers and properties of a record, and says why it cannot be
// written to RabbitMQ as it is.
func (l Limits) Check(exchange, key string, msg *amqp.Publishing) (size int, err error) {
	if len(exchange) > MaxShort {
		return 0, tooLong("exchange", len(exchange))
	}
	if len(key) > MaxShort {
		return 0, tooLong("routing key", len(key))
	}
	if size, err = Measure(msg); err != nil {
		return size, err
	}
	return size, l.CheckSize(size)
}

// CheckSize is check for what was measured already.
func (l Limits) CheckSize(size int) error {
	if l.FrameMax > 0 && size > l.FrameMax-FrameOverhead {
		return l.tooLarge(size, l.FrameMax-FrameOverhead)
	}
	return nil
}

// Measure returns what the headers and properties of a record take in their frame. An
// error names what cannot be written at all.
func Measure(m *amqp.Publishing) (size int, err error) {
	headers, err := tableSize(m.Headers)
	size = headerFixed + headers
	for i, s := range [...]string{m.ContentType, m.ContentEncoding, m.CorrelationId, m.ReplyTo, m.Expiration,
		m.MessageId, m.Type, m.UserId, m.AppId} {
		if len(s) > MaxShort && err == nil {
			err = tooLong(shortProperties[i], len(s))
		}
		size += 1 + len(s)
	}
	return size, err
}

// shortProperties are AMQP's names of the properties that are short strings.
var shortProperties = [...]string{"content-type", "content-encoding", "correlation-id", "reply-to", "expiration",
	"message-id", "type", "user-id", "app-id"}

func tooLong(what string, n int) error {
	return fmt.Errorf("%w: the %s has %d bytes, AMQP allows %d: make it shorter", holdfast.ErrInvalid, what, n,
		MaxShort)
}

func (l Limits) tooLarge(size, limit int) error {
	return fmt.Errorf("%w: the headers and properties have %d bytes, %d fit into a frame of RabbitMQ's (frame_max "+
		"is %d): move data into the body, or raise frame_max",
		holdfast.ErrTooLarge, size, limit, l.FrameMax)
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
			err = fmt.Errorf("%w: the header %q has a value of type %T, or in it one, that AMQP cannot carry: write "+
				"it as text", holdfast.ErrInvalid, Clip(name, 64), value)
		}
		if len(name) > MaxShort && err == nil {
			err = tooLong(fmt.Sprintf("name of the header %q", Clip(name, 64)), len(name))
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
			if len(name) > MaxShort || !writable(e) {
				return false
			}
		}
		return true
	case nil, string, bool, int8, uint8, int16, uint16, int32, uint32, int64, float32, float64, []byte, amqp.Decimal,
		time.Time:
		return true
	case int:
		return v >= math.MinInt32 && v <= math.MaxInt32 // amqp091 would cut it
	}
	return false
}

// Room is how many bytes the headers and properties of a record may have, so that
// what RabbitMQ adds when it delivers, or dead-letters, fits into a frame, too: who
// reads it loses his connection otherwise.
func (l Limits) Room() int {
	if l.FrameMax == 0 {
		return MaxRetryHeaders
	}
	return min(MaxRetryHeaders, l.FrameMax-max(2<<10, l.FrameMax/16))
}

// Messages says which of a transaction's messages could not be published once it is
// committed: nothing may be committed then. It costs nothing where every valid
// message fits.
func (l Limits) Messages(group, tx string, ms []holdfast.Message) error {
	if l.FrameMax == 0 || l.FrameMax >= WideFrame {
		return nil
	}
	for i := range ms {
		msg := EncodeMessage(group, tx, ms[i])
		if size, err := Measure(&msg); err != nil || size > l.Room() {
			return fmt.Errorf("message %d, to %s: %w", i+1, ms[i].Topic, cmp.Or(err, l.tooLarge(size, l.Room())))
		}
	}
	return nil
}

// Fits reports whether a copy of a delivery can be published.
func (l Limits) Fits(msg *amqp.Publishing) bool {
	size, err := Measure(msg)
	return err == nil && size <= l.Room()
}

// RecordSize is what the headers and properties of a record take in their frame.
func RecordSize(m *amqp.Publishing) int {
	size, _ := Measure(m)
	return size
}

// Squeeze makes a record of ours fit into room bytes: first what it says of the
// attempts becomes shorter, then the largest headers of the message itself are
// dropped, and named.
func Squeeze(m *amqp.Publishing, room int) {
	SqueezeOurs(m, room)
	if over := RecordSize(m) - room; over > 0 {
		cutTheirs(m.Headers, over+maxCutNote)
	}
}

// SqueezeOurs shortens what a record says of its attempts.
func SqueezeOurs(m *amqp.Publishing, room int) {
	if RecordSize(m) <= room {
		return
	}
	if log := ReadLog(m.Headers); len(log) > 2 {
		m.Headers[HeaderLog] = EncodeLog(append(log[:1:1], log[len(log)-1]))
	}
	if reason := HeaderText(m.Headers[HeaderReason]); len(reason) > ShortReason && RecordSize(m) > room {
		m.Headers[HeaderReason] = Clip(reason, ShortReason)
	}
	if RecordSize(m) > room {
		delete(m.Headers, HeaderLog)
	}
}

const (
	ShortReason = 300 // of a record that has no room for more
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
		if strings.HasPrefix(name, headerPrefix) && !strings.HasPrefix(name, HeaderUser) {
			continue
		}
		save -= sizeOf(name, headers[name])
		delete(headers, name)
		gone = append(gone, Clip(name, 64))
	}
	if len(gone) > 0 {
		headers[HeaderCut] = Clip(fmt.Sprint(gone), maxCutNote-32)
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
	return 5 + len(HeaderText(value)) // text; nothing else can be read or written
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
		gone = append(gone, Clip(name, 64))
	}
	headers[HeaderCut] = Clip(fmt.Sprint(gone), 1024)
}

// bySize orders names of headers, the largest first, the same in every copy.
func bySize(sizes map[string]int) func(a, b string) int {
	return func(a, b string) int { return cmp.Or(sizes[b]-sizes[a], strings.Compare(a, b)) }
}

// boundedList is a list in JSON that somebody else wrote: without the limit, a short
// text of empty elements would fill the memory with large ones.
type boundedList[T any, L interface{ limit() (string, int) }] []T

// UnmarshalJSON counts the elements before it reads them, and copies nothing: a list
// may be as long as a half message.
func (l *boundedList[T, L]) UnmarshalJSON(text []byte) error {
	*l = nil
	if string(text) == "null" {
		return nil
	}
	var bound L
	name, most := bound.limit()
	if !bytes.HasPrefix(text, []byte("[")) {
		return fmt.Errorf("%s: want a list, it begins with %q", name, Clip(string(text[:min(len(text), 64)]), 16))
	}
	if commas(text) >= most {
		return fmt.Errorf("%s: more than %d elements", name, most)
	}
	return json.Unmarshal(text, (*[]T)(l))
}

// commas counts those between the elements of a list that is valid JSON.
func commas(list []byte) (n int) {
	depth := 0
	for i := 0; i < len(list); i++ {
		switch list[i] {
		case '"':
			for i++; i < len(list) && list[i] != '"'; i++ {
				if list[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 1 {
				n++
			}
		}
	}
	return n
}

// The limits of lists.
type (
	ofMessages struct{}
	ofAnswers  struct{}
	ofStatus   struct{}
)

// One more, so that whoever looks at them can say how many are too many.
func (ofMessages) limit() (string, int) { return "messages", holdfast.MaxMessages + 1 }

func (ofAnswers) limit() (string, int) { return "answers", 2 * MaxCheckTxs }

func (ofStatus) limit() (string, int) { return "status", 1000 }

// MessageList are the messages of a transaction.
type MessageList = boundedList[holdfast.Message, ofMessages]
