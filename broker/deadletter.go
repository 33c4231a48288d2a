package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// The headers that a dead letter has in addition to those of the delivery.
const (
	headerConsumer   = "holdfast-consumer"
	headerQueue      = "holdfast-queue"
	headerReason     = "holdfast-reason"
	headerErrorClass = "holdfast-error-class"
	headerAttempts   = "holdfast-attempts"
	headerDeadAt     = "holdfast-dead-at"
	headerExchange   = "holdfast-exchange"
	headerRoutingKey = "holdfast-routing-key"
	headerExpiration = "holdfast-expiration"
	headerUserID     = "holdfast-user-id"
	headerCut        = "holdfast-headers-cut"
)

// The headers of retries; a dead letter has them, too.
const (
	headerLost       = "holdfast-lost"        // redeliveries since an attempt last returned
	headerLog        = "holdfast-attempt-log" // JSON of []holdfast.Attempt, bounded
	headerPolicy     = "holdfast-policy"      // holdfast.Policy.String
	headerRedelivery = "holdfast-redelivery"  // number of the operator's redelivery
)

// The header of a handled record that was put off.
const headerLate = "holdfast-late"

// The headers of an edited redelivery.
const (
	headerEditedBy = "holdfast-edited-by"
	headerOriginal = "holdfast-original-sha256" // of the body before the edit, in hex
)

// Values of the header holdfast-kind beside half and op.
const (
	kindHandled     = "handled"     // in the queue of dead letters: a redelivery was handled
	kindCompensated = "compensated" // a compensation notice
)

const (
	maxReason      = 2 << 10
	maxDeadHeaders = 96 << 10 // AMQP sends headers in one frame of 128 KiB
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

// publishDead stores a dead letter and returns once it is confirmed.
func (b *Broker) publishDead(ctx context.Context, msg amqp.Publishing) error {
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	squeeze(&msg, b.pubLink.limits().room())
	p := publication{exchange: b.DeadQueue(), key: b.DeadQueue(), mandatory: true, repair: true, msg: msg}
	if err := b.pub.one(ctx, &p, ""); err != nil {
		return fmt.Errorf("dead letter %s: %w", msg.MessageId, err)
	}
	return nil
}
