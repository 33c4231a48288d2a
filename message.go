package holdfast

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits on what a message may carry; the worker's options can lower MaxBody.
const (
	// MaxBody is the limit on the bodies of one transaction's messages together,
	// in bytes.
	MaxBody = 1 << 20
	// MaxName is the limit on a topic, a key, a group's and a consumer's name,
	// in bytes. AMQP 0-9-1 allows 255 for a routing key.
	MaxName = 200
	// MaxID is the limit on a transaction's ID, in bytes.
	MaxID = 100
	// MaxHeaders is the limit on a message's header names and values and its
	// properties (Type to AppID) together, in bytes; all messages of a transaction
	// together have four times that.
	MaxHeaders = 16 << 10
	// MaxMessages is the limit on the number of messages in one transaction.
	MaxMessages = 64
)

// ReservedHeader is the prefix of the headers that belong to Holdfast.
const ReservedHeader = "holdfast-"

// Message is one message of a transaction. The zero value of every field but
// Topic is allowed.
type Message struct {
	// ID identifies the message; a consumer's effect happens once per ID. It is
	// the transaction's ID, with ".n" appended where the transaction has
	// several messages. Leave it empty to have a UUIDv7 made; set it on the
	// first message of a transaction to choose the transaction's ID. An ID that
	// you choose must be unique over all producer groups that a consumer hears,
	// and must not end in a dot and digits. An ID, also one that was made, belongs to
	// its transaction for ever, however that ended: choose it again only where
	// nothing was run.
	ID string
	// Topic is the routing key that consumers subscribe to: words separated by
	// dots, such as "order.placed". Required.
	Topic string
	// Key is the business key, such as an order number. It finds the
	// transaction in the Temporal UI.
	Key string
	// ContentType is the body's media type, such as "application/json".
	ContentType string
	// Headers are handed to the consumers as they are. Names that begin with
	// "holdfast-" are reserved.
	Headers map[string]string
	// Body is the payload.
	Body []byte

	// Type says what kind of message it is, for consumers that tell kinds apart: AMQP's
	// property type. Like the five that follow: text of at most MaxProperty bytes.
	Type string
	// CorrelationID names what the message belongs to, over services: AMQP's property
	// correlation-id. Empty, and sent in a handler: that of the message that is handled, or
	// the ID of its transaction where it has none; see [Message.Caused].
	CorrelationID string
	// CausationID is the ID of the message that led to this one. Empty, and sent in a
	// handler: that of the message that is handled.
	CausationID string
	// ContentEncoding says how the body is encoded beside its ContentType, such as
	// "gzip": AMQP's property content-encoding. Nothing is encoded or decoded by it.
	ContentEncoding string
	// ReplyTo is where an answer is wanted, for applications that answer each other:
	// AMQP's property reply-to. Holdfast does not answer. The name of RabbitMQ's direct
	// reply-to is refused. In a saga's call, which asks for a reply itself, it is not
	// told.
	ReplyTo string
	// AppID names the application that sends: AMQP's property app-id.
	AppID string
	// Priority is AMQP's; 0: none. RabbitMQ 3 ignores it in consumers' queues, which are
	// quorum queues. RabbitMQ 4.0 to 4.2 take messages from 5 on earlier than the others,
	// and 4.3 has 32 priorities, of which none counts as 4: so use 5 to 31 for what is
	// urgent. A classic queue of your own counts up to its x-max-priority.
	Priority uint8
	// TTL is how long the message may wait in a queue until a consumer's process gets it
	// for the first time; 0: for ever. The time begins when it is published, after its
	// transaction has committed. A message that was waiting for longer is given to
	// nobody: for each consumer that missed it, it is a dead letter that waits for an
	// operator, whatever the consumer's policy. Once it was given to a consumer, its
	// retries take the time that they take. At least 1 ms, at most MaxTTL; fractions of
	// a millisecond do not count.
	TTL time.Duration

	// AllowUnrouted says that it is no error if no consumer is bound to Topic:
	// the message is then dropped by the broker.
	AllowUnrouted bool
	// Lane is how the transaction is coordinated; empty leaves that to the topic
	// and the worker. A transaction of several messages is Express only if each of
	// them is. It is not stored with the message.
	Lane Lane
}

// Half is a half message: a transaction's messages as one durable record that
// no consumer can see.
type Half struct {
	// TxID is the transaction's ID.
	TxID string
	// Group is the producer group that answers check-backs for it.
	Group string
	// Messages are the transaction's messages, as they were before the local
	// transaction.
	Messages []Message
	// At is when the half message was sent, by the sender's clock. It is for
	// people to read; nothing is decided by it.
	At time.Time
	// Lane is Express where no workflow exists for the transaction; otherwise
	// empty or Traced.
	Lane Lane
	// Database is the identity of the database in which the local transaction is run,
	// whose outcome row answers, or the saga's step rows; empty where nobody said.
	Database string
	// Saga, if not nil, says that it is no message's: it is a saga in the Express lane
	// that was started and has not ended. Messages is empty then.
	Saga *SagaStart
}

// Equal reports whether two messages carry the same: the same ID, topic, key,
// content type, headers, properties, body and routing.
func (m Message) Equal(o Message) bool {
	return m.ID == o.ID && m.Topic == o.Topic && m.Key == o.Key && m.ContentType == o.ContentType &&
		m.AllowUnrouted == o.AllowUnrouted && bytes.Equal(m.Body, o.Body) && maps.Equal(m.Headers, o.Headers) &&
		m.sameProperties(&o)
}

// Clone returns a deep copy.
func (m Message) Clone() Message {
	m.Body = bytes.Clone(m.Body)
	m.Headers = maps.Clone(m.Headers)
	return m
}

// CloneMessages returns a deep copy of ms.
func CloneMessages(ms []Message) []Message {
	out := make([]Message, len(ms))
	for i, m := range ms {
		out[i] = m.Clone()
	}
	return out
}

// NumberMessages gives ms their IDs within the transaction txID: the ID itself
// for a single message, txID.1, txID.2 … for several.
func NumberMessages(txID string, ms []Message) {
	if len(ms) == 1 {
		ms[0].ID = txID
		return
	}
	for i := range ms {
		ms[i].ID = txID + "." + strconv.Itoa(i+1)
	}
}

// Validate checks the message apart from its body's size. The error wraps
// [ErrInvalid] and names what is wrong.
func (m Message) Validate() error {
	if m.Topic == "" {
		return fmt.Errorf("%w: the topic is empty: set Message.Topic, for example \"order.placed\"", ErrInvalid)
	}
	if err := validText("topic", m.Topic, MaxName, " \t*#"); err != nil {
		return err
	}
	if err := validText("key", m.Key, MaxName, ""); err != nil {
		return err
	}
	if err := validText("ID", m.ID, MaxID+len(".64"), " /"); err != nil {
		return err
	}
	if err := m.Lane.Validate(); err != nil {
		return err
	}
	if err := validText("content type", m.ContentType, MaxName, ""); err != nil {
		return err
	}
	if err := m.validateProperties(); err != nil {
		return err
	}
	return m.validateHeaders()
}

func (m Message) validateHeaders() error {
	size := m.propertySize()
	for _, name := range m.headerNames() {
		value := m.Headers[name]
		if name == "" {
			return fmt.Errorf("%w: a header of the message to %q has an empty name", ErrInvalid, m.Topic)
		}
		if strings.HasPrefix(strings.ToLower(name), ReservedHeader) {
			return fmt.Errorf("%w: header %q: names that begin with %q are Holdfast's own", ErrInvalid, name, ReservedHeader)
		}
		if err := validText("header name", name, 128, ""); err != nil {
			return err
		}
		if !utf8.ValidString(value) {
			return fmt.Errorf("%w: header %q is not valid UTF-8: encode binary values, in base64 for example", ErrInvalid, name)
		}
		size += len(name) + len(value)
	}
	if size > MaxHeaders {
		return fmt.Errorf("%w: the headers and properties of the message to %q have %d bytes, the limit is %d: "+
			"move data into the body", ErrTooLarge, m.Topic, size, MaxHeaders)
	}
	return nil
}

// headerNames returns the names of the headers in one order, since a workflow
// validates, too.
func (m Message) headerNames() []string {
	names := make([]string, 0, len(m.Headers))
	//workflowcheck:ignore
	for name := range m.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ValidateMessages checks the messages of one transaction, with maxBody the
// limit on their bodies together in bytes (0 means [MaxBody]).
func ValidateMessages(ms []Message, maxBody int) error {
	if maxBody <= 0 {
		maxBody = MaxBody
	}
	if len(ms) == 0 {
		return fmt.Errorf("%w: a transaction needs at least one message", ErrInvalid)
	}
	if len(ms) > MaxMessages {
		return fmt.Errorf("%w: %d messages in one transaction, the limit is %d", ErrTooLarge, len(ms), MaxMessages)
	}
	size, headers := 0, 0
	for _, m := range ms {
		if err := m.Validate(); err != nil {
			return err
		}
		size, headers = size+len(m.Body), headers+m.propertySize()
		for _, name := range m.headerNames() {
			headers += len(name) + len(m.Headers[name])
		}
	}
	if size > maxBody {
		return fmt.Errorf("%w: %d bytes of body in the transaction to %q, the limit is %d: "+
			"store large data elsewhere and send a reference",
			ErrTooLarge, size, ms[0].Topic, maxBody)
	}
	if headers > 4*MaxHeaders {
		return fmt.Errorf("%w: %d bytes of headers in the transaction to %q, the limit is %d: move data into the bodies",
			ErrTooLarge, headers, ms[0].Topic, 4*MaxHeaders)
	}
	return nil
}

// ValidateTxID checks a transaction's ID that the caller chose.
func ValidateTxID(id string) error {
	if err := validText("ID", id, MaxID, " /"); err != nil {
		return err
	}
	if rest := strings.TrimRight(id, "0123456789"); rest != id && strings.HasSuffix(rest, ".") {
		return fmt.Errorf("%w: the ID %q ends in a dot and digits, which is how the messages of a transaction are numbered",
			ErrInvalid, id)
	}
	return nil
}

// ValidateName checks the name of a producer group or a consumer: letters,
// digits, dots, hyphens and underscores, at most [MaxName] bytes. What is the
// word for it in the error.
func ValidateName(what, name string) error {
	if name == "" {
		return fmt.Errorf("%w: the %s is empty", ErrInvalid, what)
	}
	if len(name) > MaxName {
		return fmt.Errorf("%w: the %s has %d bytes, the limit is %d", ErrInvalid, what, len(name), MaxName)
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)) {
			return fmt.Errorf("%w: the %s %q contains %q: use letters, digits, dots, hyphens and underscores",
				ErrInvalid, what, name, r)
		}
	}
	return nil
}

func validText(what, s string, limit int, forbidden string) error {
	if len(s) > limit {
		return fmt.Errorf("%w: the %s has %d bytes, the limit is %d", ErrInvalid, what, len(s), limit)
	}
	if isPlain(s, forbidden) {
		return nil
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: the %s is not valid UTF-8", ErrInvalid, what)
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		return fmt.Errorf("%w: the %s %q contains a control character", ErrInvalid, what, s)
	}
	if i := strings.IndexAny(s, forbidden); i >= 0 {
		return fmt.Errorf("%w: the %s %q contains %q", ErrInvalid, what, s, s[i])
	}
	return nil
}

// isPlain says, in one pass, that s is printable ASCII without what is forbidden,
// as nearly all texts are.
func isPlain(s, forbidden string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(forbidden, c) >= 0 {
			return false
		}
	}
	return true
}

// jsonMessage is how a message is written in JSON: the body as text where it
// is text, so that people can read it in the Temporal UI and in the broker.
type jsonMessage struct {
	ID            string            `json:"id,omitempty"`
	Topic         string            `json:"topic"`
	Key           string            `json:"key,omitempty"`
	ContentType   string            `json:"content_type,omitempty"`
	Headers       map[string]string `json:"headers,omitempty"`
	Text          string            `json:"text,omitempty"`
	Base64        []byte            `json:"base64,omitempty"`
	AllowUnrouted bool              `json:"allow_unrouted,omitempty"`

	Type            string `json:"type,omitempty"`
	CorrelationID   string `json:"correlation_id,omitempty"`
	CausationID     string `json:"causation_id,omitempty"`
	ContentEncoding string `json:"content_encoding,omitempty"`
	ReplyTo         string `json:"reply_to,omitempty"`
	AppID           string `json:"app_id,omitempty"`
	Priority        uint8  `json:"priority,omitempty"`
	TTL             int64  `json:"ttl_ms,omitempty"`
}

// MarshalJSON writes the body as "text" where that is UTF-8 and not longer than
// base64 would be, else as "base64". Either gives back the same bytes.
func (m Message) MarshalJSON() ([]byte, error) {
	j := jsonMessage{ID: m.ID, Topic: m.Topic, Key: m.Key, ContentType: m.ContentType,
		Headers: m.Headers, AllowUnrouted: m.AllowUnrouted, Type: m.Type, CorrelationID: m.CorrelationID,
		CausationID: m.CausationID, ContentEncoding: m.ContentEncoding, ReplyTo: m.ReplyTo, AppID: m.AppID,
		Priority: m.Priority, TTL: m.TTL.Milliseconds()}
	if textIsShorter(m.Body) {
		j.Text = string(m.Body)
	} else {
		j.Base64 = m.Body
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote. A record with both "text" and
// "base64" is an error.
func (m *Message) UnmarshalJSON(data []byte) error {
	var j jsonMessage
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	if j.Text != "" && len(j.Base64) > 0 {
		return fmt.Errorf("%w: a message to %q has both text and base64", ErrInvalid, j.Topic)
	}
	*m = Message{ID: j.ID, Topic: j.Topic, Key: j.Key, ContentType: j.ContentType,
		Headers: j.Headers, AllowUnrouted: j.AllowUnrouted, Body: j.Base64, Type: j.Type,
		CorrelationID: j.CorrelationID, CausationID: j.CausationID, ContentEncoding: j.ContentEncoding,
		ReplyTo: j.ReplyTo, AppID: j.AppID, Priority: j.Priority, TTL: ttlOf(j.TTL)}
	if j.Text != "" {
		m.Body = []byte(j.Text)
	}
	return nil
}

// textIsShorter reports whether body is UTF-8 that encoding/json writes in no
// more bytes than base64 would need, so that a payload's size stays bounded.
func textIsShorter(body []byte) bool {
	if !utf8.Valid(body) {
		return false
	}
	extra := 0
	for _, b := range body {
		switch {
		case b == '"' || b == '\\':
			extra++
		case b < 0x20 || b == '<' || b == '>' || b == '&':
			extra += 5
		}
	}
	// U+2028 and U+2029 are escaped too: six bytes instead of three.
	extra += 3 * (bytes.Count(body, []byte("\u2028")) + bytes.Count(body, []byte("\u2029")))
	return extra <= len(body)/3+4
}

// Topics returns the distinct topics of ms in their order.
func Topics(ms []Message) []string {
	var out []string
	for _, m := range ms {
		if !slices.Contains(out, m.Topic) {
			out = append(out, m.Topic)
		}
	}
	return out
}
