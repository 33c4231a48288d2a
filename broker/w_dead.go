package broker

import (
	"errors"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

func errorClass(err error) holdfast.ErrorClass {
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

// deadLetter makes the record of a delivery that died at its first attempt, of
// what is no consumer's fault.
func deadLetter(d *amqp.Delivery, queue, consumer string, attempted int, cause error, at time.Time) amqp.Publishing {
	return deadRecord(d, death{queue: queue, consumer: consumer, at: at,
		failure: failure{attempts: attempts{failed: attempted}, class: errorClass(cause), reason: cause.Error()}})
}

// death says where, when and of what a delivery died.
type death struct {
	failure
	queue, consumer string
	policy          holdfast.Policy
	at              time.Time
}

// deadRecord makes the record of a delivery that nobody tries any more: its
// body, properties and headers as they were, and why it is dead.
func deadRecord(d *amqp.Delivery, x death) amqp.Publishing {
	msg := copyOf(d)
	h := msg.Headers
	for _, name := range []string{headerHops, headerLong, headerLog, headerPolicy} {
		delete(h, name) // of its retries, or of an earlier death
	}
	cut(h)
	setText(h, headerConsumer, x.consumer)
	setText(h, headerQueue, x.queue)
	setText(h, headerErrorClass, string(x.class))
	setCount(h, headerLost, x.lost)
	h[headerAttempts] = strconv.Itoa(x.failed + x.lost)
	setText(h, headerDeadAt, x.at.UTC().Format(time.RFC3339Nano))
	h[headerReason] = clip(x.reason, maxReason)
	if len(x.log) > 0 {
		h[headerLog] = encodeLog(x.log)
	}
	if p := x.policy.String(); p != "" {
		h[headerPolicy] = p
	}
	return msg
}

// bareRecord is deadRecord with the body alone, for a message whose properties or
// headers RabbitMQ does not take.
func bareRecord(d *amqp.Delivery, x death) amqp.Publishing {
	bare := &amqp.Delivery{MessageId: letterIDOf(d.MessageId), Exchange: d.Exchange, RoutingKey: d.RoutingKey, Body: d.Body}
	exchange, key := publishedTo(d)
	bare.Headers = amqp.Table{headerExchange: exchange, headerRoutingKey: clip(key, maxShort)}
	for _, name := range []string{headerTx, headerGroup, headerTopic, headerKey} {
		setText(bare.Headers, name, headerText(d.Headers[name]))
	}
	return deadRecord(bare, x)
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
	// Late says that [Broker.Postpone] had put it off.
	Late bool
}

// handledRecord makes the record by which a consumer, or a Keeper (no consumer),
// answers a redelivery.
func handledRecord(queue, consumer, messageID, letterCopy string, redelivery int) amqp.Publishing {
	headers := amqp.Table{headerKind: kindHandled, headerVersion: version, headerQueue: queue, headerRedelivery: strconv.Itoa(redelivery)}
	if consumer != "" {
		headers[headerConsumer] = consumer
	}
	setText(headers, headerCopy, letterCopy)
	return amqp.Publishing{MessageId: messageID, Headers: headers}
}

// decodeHandled reads a handled record. What is none, or a broken one, is a dead
// letter.
func decodeHandled(prefix string, d *amqp.Delivery) (*HandledRecord, bool) {
	return trust{prefix: prefix}.decodeHandled(d)
}

func (t trust) decodeHandled(d *amqp.Delivery) (*HandledRecord, bool) {
	if headerText(d.Headers[headerKind]) != kindHandled || d.MessageId == "" {
		return nil, false
	}
	prefix := t.prefix
	switch from := t.origin(d); {
	case from == fromDead || from == fromDelay:
	case from == fromDefault && t.rolling:
	default:
		return nil, false
	}
	h := &HandledRecord{
		Consumer:   consumerName(headerText(d.Headers[headerConsumer])),
		Queue:      headerText(d.Headers[headerQueue]),
		MessageID:  letterIDOf(d.MessageId),
		Copy:       copyOfLetter(d.Headers),
		Redelivery: number(d.Headers[headerRedelivery]),
		Late:       headerText(d.Headers[headerLate]) != "",
	}
	if h.Consumer != "" {
		h.Queue = prefix + ".q." + h.Consumer
	}
	return h, h.Redelivery > 0 && (h.Consumer != "" || groupOf(prefix, h.Queue) != "")
}
