package broker

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// The headers that the intake writes into the records it puts back.
const (
	headerKept      = "holdfast-kept"   // the queue that has the whole message
	headerWholeSize = "holdfast-size"   // of the whole body, where headerKept is set
	headerLetter    = "holdfast-letter" // the dead letter's ID, where there is no message-id
	headerCopy      = "holdfast-copy"   // the dead letter's Copy, in a redelivery and its answers
)

// What is not UTF-8, JSON could not carry: made UTF-8 it would be another text, and a
// longer one, which AMQP may not allow. So an envelope has it in base64.
const (
	// headerBase64 begins the name that a header has in an envelope if its value is not
	// UTF-8; if its name is not, headerBase64Name and the name in base64 are before that.
	headerBase64     = "holdfast-base64-"
	headerBase64Name = "holdfast-base64name-"
	// propertyBase64 begins the name under which an envelope has such a property of AMQP's.
	propertyBase64 = "holdfast-property-"
)

const (
	maxText        = 255 // of names, topics, keys and IDs; AMQP's limit on most of them
	maxAttempts    = 12  // in the log of a dead letter
	maxLetterError = 300
)

// decodeDead reads whatever is in the queue of dead letters; there is nothing
// that it does not make a dead letter of. now is the time of its death where it
// does not say.
func decodeDead(prefix string, d *amqp.Delivery, now time.Time) holdfast.DeadLetter {
	return trust{prefix: prefix}.decodeDead(d, now)
}

func (t trust) decodeDead(raw *amqp.Delivery, now time.Time) holdfast.DeadLetter {
	prefix, from := t.prefix, t.origin(raw)
	d := new(amqp.Delivery)
	*d = *raw
	t.admitDead(d)
	var l holdfast.DeadLetter
	origin := *d // as it was before it died
	death, dropped := lastDeath(prefix, d)
	switch {
	case isDeadLetter(d.Headers):
		l = ourDeath(d.Headers, now)
	case dropped:
		l = droppedDeath(prefix, d, death, now)
		origin.Exchange, origin.RoutingKey = death.exchange, death.key
	default:
		l = unknownDeath(prefix, now)
	}
	if key, ok := d.Headers[headerRoutingKey]; ok {
		origin.Exchange, origin.RoutingKey = headerText(d.Headers[headerExchange]), headerText(key)
	}
	l.Failure.Redelivery = number(d.Headers[headerRedelivery])
	l.Copy = copyOfLetter(d.Headers)
	policy, err := holdfast.ParsePolicy(headerText(d.Headers[headerPolicy]))
	if err != nil {
		l.Failure.Reason += "; it waits for an operator because " + err.Error()
	}
	l.Policy = policy
	if from == fromDefault && !t.rolling {
		l.Failure.Reason += "; " + t.unproven(d)
	}
	l.Failure.Reason = plainText(l.Failure.Reason, maxReason)

	m, tx, group, err := decodeMessage(&origin)
	if err == nil && !dropped { // whoever it was for may not need its ID
		err = storableID(d.MessageId)
	}
	if err != nil && l.Failure.Class == "" {
		l.Failure.Class, l.Failure.Reason = holdfast.ClassMalformed, plainText(err.Error(), maxReason)
	} else if l.Failure.Class == "" {
		l.Failure.Class = holdfast.ClassDropped
	}
	if validTx(tx) == nil && validGroup(group) == nil {
		l.TxID, l.Group = tx, group
	}
	l.Envelope = envelope(&origin)
	l.ID = letterID(d, &l.Envelope)
	if l.Envelope.MessageID = d.MessageId; !utf8.ValidString(d.MessageId) || len(d.MessageId) > maxText {
		l.Envelope.MessageID = l.ID // as close as JSON and AMQP come to it
	}
	m.ID = l.Envelope.MessageID
	m.Topic, m.Key, m.ContentType = nameText(m.Topic), nameText(m.Key), clip(validUTF8(m.ContentType), maxShort)
	m.Headers = validHeaders(m.Headers)
	l.Message = m
	l.Size = len(d.Body)
	if l.Kept = nameText(headerText(d.Headers[headerKept])); l.Kept != "" {
		l.Size = max(number(d.Headers[headerWholeSize]), len(d.Body))
	}
	return l
}

// unproven says in words what a record is worth that somebody has put into the queue.
func (t trust) unproven(d *amqp.Delivery) string {
	s := "it came through RabbitMQ's default exchange: from an older version of Holdfast, or from anybody who may write there; nothing is done with it but by an operator"
	if headerText(d.Headers[headerClaim]) == kindHandled {
		s += "; it claims that a redelivery of message " + nameText(d.MessageId) + " was handled by consumer " +
			nameText(headerText(d.Headers[headerConsumer])) + ": see there, settle that dead letter by hand, and discard this one"
	}
	return s
}

// isDeadLetter reports whether a consumer or a Keeper wrote the record.
func isDeadLetter(h amqp.Table) bool {
	return h[headerDeadAt] != nil || h[headerQueue] != nil && h[headerErrorClass] != nil
}

// ourDeath reads the headers that deadLetter wrote.
func ourDeath(h amqp.Table, now time.Time) holdfast.DeadLetter {
	at, err := time.Parse(time.RFC3339Nano, headerText(h[headerDeadAt]))
	if err != nil {
		at = now
	}
	l := holdfast.DeadLetter{Queue: nameText(headerText(h[headerQueue])), Failure: attemptsOf(h)}
	l.Failure.Consumer = consumerName(headerText(h[headerConsumer]))
	l.Failure.At = writableTime(at)
	l.Failure.Class = knownClass(headerText(h[headerErrorClass]))
	if l.Failure.Reason = headerText(h[headerReason]); l.Failure.Reason == "" {
		l.Failure.Reason = "no reason is given"
	}
	return l
}

// attemptsOf reads what retries and dead letters say of the tries.
func attemptsOf(h amqp.Table) holdfast.Failure {
	f := holdfast.Failure{Attempts: number(h[headerAttempts])}
	log := readLog(h)
	if len(log) > maxAttempts {
		log = slices.Concat(log[:2], log[len(log)-(maxAttempts-2):])
	}
	for i := range log {
		log[i].Class, log[i].Error = knownClass(string(log[i].Class)), plainText(log[i].Error, maxLetterError)
		log[i].At = writableTime(log[i].At)
	}
	f.Log = log
	return f
}

// unknownDeath is for what somebody else put into the queue of dead letters; its
// class comes of whether it can be read.
func unknownDeath(prefix string, now time.Time) holdfast.DeadLetter {
	return holdfast.DeadLetter{Queue: deadQueue(prefix), Failure: holdfast.Failure{At: writableTime(now),
		Reason: "somebody put it into the queue of dead letters; it does not say why, nor whose it is"}}
}

func knownClass(s string) holdfast.ErrorClass {
	switch c := holdfast.ErrorClass(s); c {
	case holdfast.ClassError, holdfast.ClassTimeout, holdfast.ClassPanic, holdfast.ClassLost,
		holdfast.ClassPermanent, holdfast.ClassMalformed, holdfast.ClassDropped:
		return c
	}
	return holdfast.ClassError
}

// consumerName returns s if a consumer can be called so.
func consumerName(s string) string {
	if holdfast.ValidateName("consumer", s) != nil {
		return ""
	}
	return s
}

// number reads a count; what is none is 0.
func number(v any) int {
	n, err := strconv.ParseInt(headerText(v), 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// writableTime returns t in UTC, or no time where JSON has no form for it.
func writableTime(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

func validUTF8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// plainText returns s as at most n bytes of UTF-8 without control characters
// other than line ends and tabs.
func plainText(s string, n int) string { return clip(withoutControls(s, "\n\t"), n) }

// nameText is plainText for what can be part of a name, or of an ID.
func nameText(s string) string { return clip(withoutControls(s, ""), maxText) }

func withoutControls(s, but string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !strings.ContainsRune(but, r) {
			return utf8.RuneError
		}
		return r
	}, validUTF8(s))
}

func validHeaders(h map[string]string) map[string]string {
	if len(h) == 0 {
		return nil
	}
	valid := make(map[string]string, len(h))
	for name, value := range h {
		valid[clip(validUTF8(name), maxShort)] = validUTF8(value)
	}
	return valid
}

// usableID reports whether a message's ID can be a dead letter's, and with it a
// part of a workflow's.
func usableID(id string) bool {
	return id != "" && len(id) <= maxText && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// copyOfLetter returns the Copy of the dead letter that was redelivered.
func copyOfLetter(h amqp.Table) string {
	c := headerText(h[headerCopy])
	if number(h[headerRedelivery]) == 0 || len(c) > 64 || !usableID(c) {
		return ""
	}
	return c
}

// letterIDOf returns the dead letter's ID for a message-id that is not empty.
func letterIDOf(messageID string) string {
	if usableID(messageID) {
		return messageID
	}
	sum := sha256.Sum256([]byte(messageID))
	return "sha256-" + hex.EncodeToString(sum[:16])
}

// letterID returns the same ID for all copies of a message. Without a message-id,
// messages with the same content count as copies.
func letterID(d *amqp.Delivery, e *holdfast.Envelope) string {
	if d.MessageId != "" {
		return letterIDOf(d.MessageId)
	}
	if id := headerText(d.Headers[headerLetter]); usableID(id) {
		return id
	}
	sum := sha256.New()
	add := func(s string) {
		_ = binary.Write(sum, binary.BigEndian, uint64(len(s)))
		sum.Write([]byte(s))
	}
	for _, s := range []string{d.ContentType, d.ContentEncoding, d.CorrelationId, d.ReplyTo, d.Type, d.AppId} {
		add(s)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		add(name)
		add(e.Headers[name])
	}
	sum.Write(d.Body)
	return "sha256-" + hex.EncodeToString(sum.Sum(nil)[:16])
}

// ofDeath reports whether a header is about a message's retries and its death,
// and not part of the message.
func ofDeath(name string) bool {
	switch name {
	case headerConsumer, headerQueue, headerReason, headerErrorClass, headerAttempts, headerDeadAt,
		headerExchange, headerRoutingKey, headerLost, headerLog, headerPolicy, headerRedelivery,
		headerKept, headerWholeSize, headerLetter, headerCopy, headerHops, headerLong:
		return true
	}
	return brokersOwn(name)
}

// envelope is what Redeliver needs beside the message. Its MessageID is set by
// the caller.
func envelope(d *amqp.Delivery) holdfast.Envelope {
	e := holdfast.Envelope{
		Exchange:        validUTF8(d.Exchange),
		RoutingKey:      validUTF8(d.RoutingKey),
		ContentEncoding: validUTF8(d.ContentEncoding),
		CorrelationID:   validUTF8(d.CorrelationId),
		ReplyTo:         validUTF8(d.ReplyTo),
		Type:            validUTF8(d.Type),
		AppID:           validUTF8(d.AppId),
		Priority:        d.Priority,
		Timestamp:       writableTime(d.Timestamp),
	}
	e.Headers = make(map[string]string, len(d.Headers))
	for _, p := range []struct{ name, value string }{{headerExpiration, d.Expiration}, {headerUserID, d.UserId}} {
		if p.value != "" {
			e.Headers[p.name] = validUTF8(p.value) // a new publish cannot have these properties
		}
	}
	for name, value := range d.Headers {
		if ofDeath(name) {
			continue
		}
		name, text := escapeHeader(name), headerText(value)
		if !utf8.ValidString(name) || strings.HasPrefix(name, headerBase64Name) || strings.HasPrefix(name, propertyBase64) {
			name = headerBase64Name + base64.RawURLEncoding.EncodeToString([]byte(name))
		}
		if !utf8.ValidString(text) || strings.HasPrefix(name, headerBase64) {
			name, text = headerBase64+name, base64.StdEncoding.EncodeToString([]byte(text))
		}
		e.Headers[name] = text
	}
	for _, p := range append(propertiesOf(&e), property{contentType, nil, func(d *amqp.Delivery) string { return d.ContentType }}) {
		if raw := p.of(d); !utf8.ValidString(raw) {
			e.Headers[propertyBase64+p.name] = base64.StdEncoding.EncodeToString([]byte(raw))
		}
	}
	if len(e.Headers) == 0 {
		e.Headers = nil
	}
	return e
}

// property is a text that both an envelope and a delivery have.
type property struct {
	name string
	in   *string
	of   func(*amqp.Delivery) string
}

func propertiesOf(e *holdfast.Envelope) []property {
	return []property{
		{"content-encoding", &e.ContentEncoding, func(d *amqp.Delivery) string { return d.ContentEncoding }},
		{"correlation-id", &e.CorrelationID, func(d *amqp.Delivery) string { return d.CorrelationId }},
		{"reply-to", &e.ReplyTo, func(d *amqp.Delivery) string { return d.ReplyTo }},
		{"type", &e.Type, func(d *amqp.Delivery) string { return d.Type }},
		{"app-id", &e.AppID, func(d *amqp.Delivery) string { return d.AppId }},
		{"exchange", &e.Exchange, func(d *amqp.Delivery) string { return d.Exchange }},
		{"routing-key", &e.RoutingKey, func(d *amqp.Delivery) string { return d.RoutingKey }},
	}
}

const contentType = "content-type"

// contentTypeOf is a dead letter's content type as it was before JSON.
func contentTypeOf(l *holdfast.DeadLetter) string {
	raw, err := base64.StdEncoding.DecodeString(l.Envelope.Headers[propertyBase64+contentType])
	if err != nil || len(raw) == 0 || len(raw) > maxShort {
		return clip(l.Message.ContentType, maxShort) // that of an older version may be longer
	}
	return string(raw)
}

// original is an envelope with its properties as they were before JSON.
func original(e holdfast.Envelope) holdfast.Envelope {
	for _, p := range propertiesOf(&e) {
		if text, ok := e.Headers[propertyBase64+p.name]; ok {
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
				*p.in = string(raw)
			}
		}
		*p.in = clip(*p.in, maxShort) // in an envelope of an older version it may be longer
	}
	return e
}

// envelopeHeaders is the way back.
func envelopeHeaders(e *holdfast.Envelope) amqp.Table {
	headers := make(amqp.Table, len(e.Headers)+4)
	for name, text := range e.Headers {
		if strings.HasPrefix(name, propertyBase64) {
			continue
		}
		if original, ok := strings.CutPrefix(name, headerBase64); ok {
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
				name, text = original, string(raw)
			}
		}
		if encoded, ok := strings.CutPrefix(name, headerBase64Name); ok {
			if raw, err := base64.RawURLEncoding.DecodeString(encoded); err == nil {
				name = string(raw)
			}
		}
		if len(name) <= maxShort {
			headers[name] = text
		}
	}
	return headers
}
