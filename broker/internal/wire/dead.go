package wire

import (
	"errors"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// ErrorClass is the class of an error that a handler returned.
func ErrorClass(err error) holdfast.ErrorClass {
	var p *holdfast.PanicError
	switch {
	case errors.Is(err, holdfast.ErrMalformed) && !holdfast.IsPermanent(err):
		return holdfast.ClassMalformed
	case holdfast.IsPermanent(err):
		return holdfast.ClassPermanent
	case errors.As(err, &p):
		return holdfast.ClassPanic
	}
	return holdfast.ClassError
}

// DeathOf is the death of a delivery that died after so many attempts, of what is no consumer's
// fault.
func DeathOf(queue, consumer string, attempted int, cause error, at time.Time) Death {
	return Death{Queue: queue, Consumer: consumer, At: at,
		Failure: Failure{Attempts: Attempts{Failed: attempted}, Class: ErrorClass(cause), Reason: cause.Error()}}
}

// Death says where, when and of what a delivery died.
type Death struct {
	Failure
	Queue, Consumer string
	Policy          holdfast.Policy
	At              time.Time
}

// EncodeDead makes the record of a delivery that nobody tries any more: its
// body, properties and headers as they were, and why it is dead.
func EncodeDead(d *amqp.Delivery, x Death) amqp.Publishing {
	msg := CopyOf(d)
	h := msg.Headers
	for _, name := range []string{HeaderHops, HeaderLong, HeaderLog, HeaderPolicy, HeaderRefused} {
		delete(h, name) // of its retries, or of an earlier death; its reason says why it was refused
	}
	cut(h)
	setText(h, HeaderConsumer, x.Consumer)
	setText(h, HeaderQueue, x.Queue)
	setText(h, HeaderErrorClass, string(x.Class))
	SetCount(h, HeaderLost, x.Lost)
	h[HeaderAttempts] = strconv.Itoa(x.Failed + x.Lost)
	setText(h, HeaderDeadAt, x.At.UTC().Format(time.RFC3339Nano))
	h[HeaderReason] = Clip(x.Reason, MaxReason)
	if len(x.Log) > 0 {
		h[HeaderLog] = EncodeLog(x.Log)
	}
	if p := x.Policy.String(); p != "" {
		h[HeaderPolicy] = p
	}
	return msg
}

// EncodeBare is EncodeDead with the body alone, for a message whose properties or
// headers RabbitMQ does not take.
func EncodeBare(d *amqp.Delivery, x Death) amqp.Publishing {
	bare := &amqp.Delivery{MessageId: letterIDOf(d.MessageId), Exchange: d.Exchange, RoutingKey: d.RoutingKey,
		Body: d.Body}
	exchange, key := PublishedTo(d)
	bare.Headers = amqp.Table{HeaderExchange: exchange, HeaderRoutingKey: Clip(key, MaxShort)}
	for _, name := range []string{HeaderTx, HeaderGroup, HeaderTopic, HeaderKey} {
		setText(bare.Headers, name, HeaderText(d.Headers[name]))
	}
	return EncodeDead(bare, x)
}

// cut makes room for ours among a foreign message's headers: a header frame that
// is too long would end the connection.
func cut(headers amqp.Table) { cutTo(headers, maxDeadHeaders) }

const maxDeadHeaders = 96 << 10 // AMQP sends headers in one frame of 128 KiB

// HandledRecord says that a redelivered message was handled.
type HandledRecord struct {
	// Consumer handled it; empty where it was a half queue's Keeper.
	Consumer string
	// Queue is where it was redelivered to.
	Queue string
	// MessageID is the ID of its [holdfast.DeadLetter].
	MessageID string
	// Copy is that of its [holdfast.DeadLetter].
	Copy string
	// Redelivery is the redelivery's number.
	Redelivery int
	// Late says that Postpone had put it off.
	Late bool
}

// EncodeHandled makes the record by which a consumer, or a Keeper (no consumer),
// answers a redelivery.
func EncodeHandled(queue, consumer, messageID, letterCopy string, redelivery int) amqp.Publishing {
	headers := amqp.Table{HeaderKind: KindHandled, HeaderVersion: Version, HeaderQueue: queue,
		HeaderRedelivery: strconv.Itoa(redelivery)}
	if consumer != "" {
		headers[HeaderConsumer] = consumer
	}
	setText(headers, headerCopy, letterCopy)
	return amqp.Publishing{MessageId: messageID, Headers: headers}
}

// DecodeHandled reads a handled record. What is none, or a broken one, is a dead
// letter.
func (t Trust) DecodeHandled(d *amqp.Delivery) (*HandledRecord, bool) {
	if HeaderText(d.Headers[HeaderKind]) != KindHandled || d.MessageId == "" || Refused(d) != nil {
		return nil, false
	}
	prefix := t.Prefix
	switch from := t.Origin(d); {
	case from == FromDead || from == FromDelay:
	case from == FromDefault && t.Rolling:
	default:
		return nil, false
	}
	h := &HandledRecord{
		Consumer:   ConsumerName(HeaderText(d.Headers[HeaderConsumer])),
		Queue:      HeaderText(d.Headers[HeaderQueue]),
		MessageID:  letterIDOf(d.MessageId),
		Copy:       CopyOfLetter(d.Headers),
		Redelivery: Number(d.Headers[HeaderRedelivery]),
		Late:       HeaderText(d.Headers[HeaderLate]) != "",
	}
	if h.Consumer != "" {
		h.Queue = prefix + ".q." + h.Consumer
	}
	return h, h.Redelivery > 0 && (h.Consumer != "" || GroupOf(prefix, h.Queue) != "")
}
