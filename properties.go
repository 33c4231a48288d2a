package holdfast

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// MaxProperty is the limit on each of a message's properties that are text (Type,
	// CorrelationID and so on), in bytes: AMQP's for a short string.
	MaxProperty = 255
	// MaxTTL is the longest [Message.TTL].
	MaxTTL = 30 * 24 * time.Hour
)

// directReplyTo begins the names of RabbitMQ's direct reply-to. A publish with it needs a
// consumer on its own channel, and closes the channel where there is none.
const directReplyTo = "amq.rabbitmq.reply-to"

// property is one that is text.
type property struct{ name, value string }

func (m *Message) properties() [6]property {
	return [...]property{{"type", m.Type}, {"correlation ID", m.CorrelationID}, {"causation ID", m.CausationID},
		{"content encoding", m.ContentEncoding}, {"reply-to", m.ReplyTo}, {"app ID", m.AppID}}
}

// propertySize is how many bytes of the limit on headers the properties take.
func (m *Message) propertySize() (size int) {
	for _, p := range m.properties() {
		size += len(p.value)
	}
	return size
}

// sameProperties reports whether two messages have the same properties on the wire.
func (m *Message) sameProperties(o *Message) bool {
	return m.properties() == o.properties() && m.Priority == o.Priority && m.TTL.Milliseconds() == o.TTL.Milliseconds()
}

func (m *Message) validateProperties() error {
	for _, p := range m.properties() {
		if err := validText(p.name, p.value, MaxProperty, ""); err != nil {
			return fmt.Errorf("message to %q: %w", m.Topic, err)
		}
	}
	switch {
	case strings.HasPrefix(m.ReplyTo, directReplyTo):
		return fmt.Errorf("%w: message to %q: reply-to is %q: RabbitMQ's direct reply-to ends with its channel, long "+
			"before a transaction may be delivered: name a queue of your own", ErrInvalid, m.Topic, m.ReplyTo)
	case m.TTL < 0:
		return fmt.Errorf("%w: message to %q: TTL is %v: want at least 1ms, or 0 for a message that does not expire",
			ErrInvalid, m.Topic, m.TTL)
	case m.TTL > 0 && m.TTL < time.Millisecond:
		return fmt.Errorf("%w: message to %q: TTL is %v, RabbitMQ counts in milliseconds: want at least 1ms, or 0 for "+
			"a message that does not expire", ErrInvalid, m.Topic, m.TTL)
	case m.TTL > MaxTTL:
		return fmt.Errorf("%w: message to %q: TTL is %v, the limit is %v: leave it 0 for a message that does not expire",
			ErrInvalid, m.Topic, m.TTL, MaxTTL)
	}
	return nil
}

// ttlOf is the time to live of so many milliseconds, which anybody may have written: one
// that is too long stays so.
func ttlOf(ms int64) time.Duration {
	return time.Duration(min(max(ms, -1), MaxTTL.Milliseconds()+1)) * time.Millisecond
}

// Caused returns m as what a handler sends that handles d. Its CorrelationID, if it is
// empty, is that of d; where d has none, the ID of d's transaction, of its saga, or else
// of its message. Its CausationID, if it is empty, is the ID of d's message. What a
// message may not carry, since a stranger chose it, is left out. Send, Begin and Start do
// this by themselves with the context of a handler.
func (m Message) Caused(d Delivery) Message {
	for _, id := range []string{d.CorrelationID, d.TxID, d.Saga, d.MessageID} {
		if m.CorrelationID == "" && usableProperty(id) {
			m.CorrelationID = id
		}
	}
	if m.CausationID == "" && usableProperty(d.MessageID) {
		m.CausationID = d.MessageID
	}
	return m
}

func usableProperty(s string) bool {
	return utf8.ValidString(s) && validText("", s, MaxProperty, "") == nil
}
