package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// DecodeDead reads whatever is in the queue of dead letters; there is nothing
// that it does not make a dead letter of. now is the time of its death where it
// does not say.
func (t Trust) DecodeDead(raw *amqp.Delivery, now time.Time) holdfast.DeadLetter {
	prefix, from := t.Prefix, t.Origin(raw)
	d := new(amqp.Delivery)
	*d = *raw
	t.AdmitDead(d)
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
	if key, ok := d.Headers[HeaderRoutingKey]; ok {
		origin.Exchange, origin.RoutingKey = HeaderText(d.Headers[HeaderExchange]), HeaderText(key)
	}
	l.Failure.Redelivery = Number(d.Headers[HeaderRedelivery])
	l.Copy = CopyOfLetter(d.Headers)
	policy, err := holdfast.ParsePolicy(HeaderText(d.Headers[HeaderPolicy]))
	if err != nil {
		l.Failure.Reason += "; it waits for an operator because " + err.Error()
	}
	l.Policy = policy
	if why := Refused(d); why != nil {
		l.Failure.Reason += "; " + why.Error() + claimed(d)
	} else if from == FromDefault && !t.Rolling {
		l.Failure.Reason += "; " + t.unproven(d)
	}
	l.Failure.Reason = PlainText(l.Failure.Reason, MaxReason)

	m, tx, group, err := DecodeMessage(&origin)
	if err == nil && !dropped { // whoever it was for may not need its ID
		err = StorableID(d.MessageId)
	}
	if err != nil && l.Failure.Class == "" {
		l.Failure.Class, l.Failure.Reason = holdfast.ClassMalformed, PlainText(err.Error(), MaxReason)
	} else if l.Failure.Class == "" {
		l.Failure.Class = holdfast.ClassDropped
	}
	if ValidTx(tx) == nil && ValidGroup(group) == nil {
		l.TxID, l.Group = tx, group
	}
	l.Envelope = envelope(&origin)
	l.ID = letterID(d, &l.Envelope)
	if l.Envelope.MessageID = d.MessageId; !utf8.ValidString(d.MessageId) || len(d.MessageId) > MaxText {
		l.Envelope.MessageID = l.ID // as close as JSON and AMQP come to it
	}
	m.ID = l.Envelope.MessageID
	m.Topic, m.Key, m.ContentType = NameText(m.Topic), NameText(m.Key), Clip(ValidUTF8(m.ContentType), MaxShort)
	m.Headers = validHeaders(m.Headers)
	for _, p := range []*string{&m.Type, &m.CorrelationID, &m.CausationID, &m.ContentEncoding, &m.ReplyTo, &m.AppID} {
		*p = Clip(ValidUTF8(*p), MaxShort)
	}
	l.Message = m
	l.Size = len(d.Body)
	if l.Kept = NameText(HeaderText(d.Headers[HeaderKept])); l.Kept != "" {
		l.Size = max(Number(d.Headers[HeaderWholeSize]), len(d.Body))
	}
	return l
}

// unproven says in words what a record is worth that somebody has put into the queue.
func (t Trust) unproven(d *amqp.Delivery) string {
	s := "it came through RabbitMQ's default exchange: from an older version of Holdfast, or from anybody who may " +
		"write there; nothing is done with it but by an operator"
	return s + claimed(d)
}

// claimed says what a record claims that would close a dead letter.
func claimed(d *amqp.Delivery) string {
	if HeaderText(d.Headers[HeaderClaim]) != KindHandled {
		return ""
	}
	return "; it claims that a redelivery of message " + NameText(d.MessageId) + " was handled by consumer " +
		NameText(HeaderText(d.Headers[HeaderConsumer])) + ": see there, settle that dead letter by hand, and " +
		"discard this one"
}

// isDeadLetter reports whether a consumer or a Keeper wrote the record.
func isDeadLetter(h amqp.Table) bool {
	return h[HeaderDeadAt] != nil || h[HeaderQueue] != nil && h[HeaderErrorClass] != nil
}

// ourDeath reads the headers that EncodeDead wrote.
func ourDeath(h amqp.Table, now time.Time) holdfast.DeadLetter {
	at, err := time.Parse(time.RFC3339Nano, HeaderText(h[HeaderDeadAt]))
	if err != nil {
		at = now
	}
	l := holdfast.DeadLetter{Queue: NameText(HeaderText(h[HeaderQueue])), Failure: attemptsOf(h)}
	l.Failure.Consumer = ConsumerName(HeaderText(h[HeaderConsumer]))
	l.Failure.At = writableTime(at)
	l.Failure.Class = knownClass(HeaderText(h[HeaderErrorClass]))
	if l.Failure.Reason = HeaderText(h[HeaderReason]); l.Failure.Reason == "" {
		l.Failure.Reason = "no reason is given"
	}
	return l
}

// attemptsOf reads what retries and dead letters say of the tries.
func attemptsOf(h amqp.Table) holdfast.Failure {
	f := holdfast.Failure{Attempts: Number(h[HeaderAttempts])}
	log := ReadLog(h)
	if len(log) > maxAttempts {
		log = slices.Concat(log[:2], log[len(log)-(maxAttempts-2):])
	}
	for i := range log {
		log[i].Class, log[i].Error = knownClass(string(log[i].Class)), PlainText(log[i].Error, maxLetterError)
		log[i].At = writableTime(log[i].At)
	}
	f.Log = log
	return f
}

const (
	maxAttempts    = 12 // in the log of a dead letter
	maxLetterError = 300
)

// unknownDeath is for what somebody else put into the queue of dead letters; its
// class comes of whether it can be read.
func unknownDeath(prefix string, now time.Time) holdfast.DeadLetter {
	return holdfast.DeadLetter{Queue: DeadQueue(prefix), Failure: holdfast.Failure{At: writableTime(now),
		Reason: "somebody put it into the queue of dead letters; it does not say why, nor whose it is"}}
}

// droppedDeath says in words why RabbitMQ dropped it, and whose it was.
func droppedDeath(prefix string, d *amqp.Delivery, x xDeath, now time.Time) holdfast.DeadLetter {
	l := holdfast.DeadLetter{Queue: NameText(x.queue), Failure: attemptsOf(d.Headers)}
	l.Failure.Class = holdfast.ClassDropped
	l.Failure.Attempts += Number(d.Headers[HeaderLost])
	if l.Failure.At = writableTime(x.at); x.at.IsZero() {
		l.Failure.At = writableTime(now)
	}
	// A retry comes back under the name of its consumer's queue. If it comes here
	// from its delay queue, there was none of that name.
	if strings.HasPrefix(x.queue, prefix+".retry.") {
		for _, queue := range []string{d.RoutingKey, x.key} {
			if consumer := OwnerOf(prefix, queue); consumer != "" {
				l.Queue, l.Failure.Consumer = prefix+".q."+consumer, consumer
				l.Failure.Reason = fmt.Sprintf("the consumer's queue %s is gone: the message waited in %s for its "+
					"next attempt", queue, x.queue)
				if last := HeaderText(d.Headers[HeaderReason]); last != "" {
					l.Failure.Reason += "; the last error was: " + last
				}
				return l
			}
		}
	}
	l.Failure.Reason = "RabbitMQ dropped it from " + l.Queue + " because " + whyDropped(x.reason)
	if l.Failure.Consumer = OwnerOf(prefix, x.queue); l.Failure.Consumer != "" {
		l.Queue = prefix + ".q." + l.Failure.Consumer
	}
	return l
}

// whyDropped explains RabbitMQ's words for its limits.
func whyDropped(reason string) string {
	switch reason {
	case "expired":
		return "it waited there longer than its time to live (the message's expiration, or message-ttl in a policy " +
			"for the queue)"
	case "maxlen":
		return "the queue was full (max-length or max-length-bytes in a policy for it)"
	case "rejected":
		return "a consumer refused it for good (basic.reject or basic.nack without requeue)"
	case "delivery_limit":
		return "it was delivered more often than the queue's delivery-limit allows"
	}
	return fmt.Sprintf("of its rule %q", reason)
}

// usableID reports whether a message's ID can be a dead letter's, and with it a
// part of a workflow's.
func usableID(id string) bool {
	return id != "" && len(id) <= MaxText && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
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
	if id := HeaderText(d.Headers[HeaderLetter]); usableID(id) {
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

// CopyOfLetter returns the Copy of the dead letter that was redelivered.
func CopyOfLetter(h amqp.Table) string {
	c := HeaderText(h[headerCopy])
	if Number(h[HeaderRedelivery]) == 0 || len(c) > 64 || !usableID(c) {
		return ""
	}
	return c
}
