package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// The values of the header holdfast-error-class.
const (
	// ClassPermanent: the handler marked the error with [holdfast.Permanent].
	ClassPermanent = "permanent"
	// ClassExhausted: the last of the allowed tries failed.
	ClassExhausted = "exhausted"
	// ClassPanic: the last try panicked.
	ClassPanic = "panic"
	// ClassMalformed: the delivery is not what the wire format says.
	ClassMalformed = "malformed"
)

const (
	maxReason      = 2 << 10
	maxDeadHeaders = 96 << 10 // AMQP sends headers in one frame of 128 KiB
)

func errorClass(err error) string {
	var p *holdfast.PanicError
	switch {
	case errors.Is(err, holdfast.ErrMalformed) && !holdfast.IsPermanent(err):
		return ClassMalformed
	case holdfast.IsPermanent(err):
		return ClassPermanent
	case errors.As(err, &p):
		return ClassPanic
	}
	return ClassExhausted
}

// deadLetter makes the record of a delivery that nobody tries any more: its
// body, properties and headers as they were, and why it is dead.
func deadLetter(d *amqp.Delivery, queue, consumer string, attempts int, cause error, at time.Time) amqp.Publishing {
	headers := make(amqp.Table, len(d.Headers)+10)
	for name, value := range d.Headers {
		headers[escapeHeader(name)] = value
	}
	delete(headers, "x-delivery-count") // of the queue it leaves
	delete(headers, "x-acquired-count")
	cut(headers)
	set := func(name, value string) {
		if value != "" {
			headers[name] = clip(value, 255)
		}
	}
	set(headerConsumer, consumer)
	set(headerQueue, queue)
	set(headerErrorClass, errorClass(cause))
	set(headerAttempts, strconv.Itoa(attempts))
	set(headerDeadAt, at.UTC().Format(time.RFC3339Nano))
	set(headerExchange, d.Exchange)
	set(headerRoutingKey, d.RoutingKey)
	// As properties, these two would make RabbitMQ drop or refuse the record.
	set(headerExpiration, d.Expiration)
	set(headerUserID, d.UserId)
	headers[headerReason] = clip(cause.Error(), maxReason)
	return amqp.Publishing{
		Headers:         headers,
		ContentType:     d.ContentType,
		ContentEncoding: d.ContentEncoding,
		Priority:        d.Priority,
		CorrelationId:   d.CorrelationId,
		Timestamp:       d.Timestamp,
		ReplyTo:         d.ReplyTo,
		MessageId:       d.MessageId,
		Type:            d.Type,
		AppId:           d.AppId,
		Body:            d.Body,
	}
}

// cut drops the largest headers of a foreign message while all of them together
// would not leave room in the frame for ours, and notes their names: a header
// frame that is too long would end the connection.
func cut(headers amqp.Table) {
	size := func(name string) int {
		text, err := json.Marshal(plain(headers[name]))
		if err != nil {
			return len(headerText(headers[name])) + len(name)
		}
		return len(text) + len(name) + 8
	}
	sizes := map[string]int{}
	total := 0
	for name := range headers {
		sizes[name] = size(name)
		total += sizes[name]
	}
	if total <= maxDeadHeaders {
		return
	}
	names := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int { return sizes[b] - sizes[a] })
	var gone []string
	for _, name := range names {
		if total <= maxDeadHeaders {
			break
		}
		total -= sizes[name]
		delete(headers, name)
		gone = append(gone, clip(name, 64))
	}
	headers[headerCut] = clip(fmt.Sprint(gone), 1024)
}

// publishDead stores a dead letter and returns once it is confirmed.
func (b *Broker) publishDead(ctx context.Context, msg amqp.Publishing) error {
	ctx, cancel := b.timeout(ctx)
	defer cancel()
	p := publication{key: b.DeadQueue(), mandatory: true, repair: true, msg: msg}
	if err := b.pub.one(ctx, &p, ""); err != nil {
		return fmt.Errorf("dead letter %s: %w", msg.MessageId, err)
	}
	return nil
}
