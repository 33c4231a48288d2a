package broker

import (
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// RedeliverRequest asks for a dead letter to be delivered again.
type RedeliverRequest struct {
	// Letter is the dead letter, as ConsumeDead gave it.
	Letter holdfast.DeadLetter
	// N numbers its redeliveries, from 1.
	N int
	// Operator is who asked for it. Required where Edited.
	Operator string
	// Edited says that Body replaces the message's body, and ContentType, if it
	// is not empty, its content type.
	Edited      bool
	Body        []byte
	ContentType string
	// OriginalSHA256 is the hash of the body before the edit, in hex. Required
	// where Edited: the letter may come without its body then.
	OriginalSHA256 string
}

// redelivery makes the message as it was before it died.
func redelivery(prefix string, r *RedeliverRequest) amqp.Publishing {
	l, e := &r.Letter, original(r.Letter.Envelope)
	headers := envelopeHeaders(&e)
	msg := amqp.Publishing{
		Headers:         headers,
		ContentType:     contentTypeOf(l),
		ContentEncoding: e.ContentEncoding,
		Priority:        e.Priority,
		CorrelationId:   e.CorrelationID,
		Timestamp:       e.Timestamp,
		ReplyTo:         e.ReplyTo,
		MessageId:       e.MessageID,
		Type:            e.Type,
		AppId:           e.AppID,
		Body:            l.Message.Body,
	}
	if consumerOf(prefix, l.Queue) == "" && msg.MessageId == "" {
		msg.MessageId = l.ID // the Keeper needs none; its answer does
	}
	if r.Edited {
		headers[headerEditedBy], headers[headerOriginal] = clip(r.Operator, maxText), r.OriginalSHA256
		msg.Body = r.Body
		if r.ContentType != "" {
			msg.ContentType = r.ContentType
		}
	}
	cut(headers)
	headers[headerRedelivery] = strconv.Itoa(r.N)
	setText(headers, headerCopy, l.Copy)
	if consumerOf(prefix, l.Queue) != "" {
		if e.MessageID == "" {
			headers[headerLetter] = l.ID // for its consumer's answer
		}
		// The routing key will be the queue's name, and a foreign message has no
		// other topic.
		headers[headerExchange], headers[headerRoutingKey] = e.Exchange, e.RoutingKey
	}
	return msg
}
