package wire

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

// EncodeRedelivery makes the message as it was before it died.
func EncodeRedelivery(prefix string, r *RedeliverRequest) amqp.Publishing {
	l, e := &r.Letter, original(r.Letter.Envelope)
	headers := EnvelopeHeaders(&e)
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
	if ConsumerOf(prefix, l.Queue) == "" && msg.MessageId == "" {
		msg.MessageId = l.ID // the Keeper needs none; its answer does
	}
	if r.Edited {
		headers[HeaderEditedBy], headers[HeaderOriginal] = Clip(r.Operator, MaxText), r.OriginalSHA256
		msg.Body = r.Body
		if r.ContentType != "" {
			msg.ContentType = r.ContentType
		}
	}
	cut(headers)
	headers[HeaderRedelivery] = strconv.Itoa(r.N)
	setText(headers, headerCopy, l.Copy)
	if ConsumerOf(prefix, l.Queue) != "" {
		if e.MessageID == "" {
			headers[HeaderLetter] = l.ID // for its consumer's answer
		}
		// The routing key will be the queue's name, and a foreign message has no
		// other topic.
		headers[HeaderExchange], headers[HeaderRoutingKey] = e.Exchange, e.RoutingKey
	}
	return msg
}
