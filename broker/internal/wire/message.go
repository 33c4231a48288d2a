package wire

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// EncodeMessage makes the record of a message of a committed transaction.
func EncodeMessage(group, tx string, m holdfast.Message) amqp.Publishing {
	headers := make(amqp.Table, len(m.Headers)+5)
	for name, value := range m.Headers {
		headers[escapeHeader(name)] = value
	}
	headers[HeaderVersion], headers[HeaderTx], headers[HeaderGroup] = Version, tx, group
	headers[HeaderTopic] = m.Topic
	if m.Key != "" {
		headers[HeaderKey] = m.Key
	}
	setText(headers, HeaderCausation, m.CausationID)
	msg := amqp.Publishing{Headers: headers, ContentType: m.ContentType, MessageId: m.ID, Body: m.Body,
		Type: m.Type, CorrelationId: m.CorrelationID, ContentEncoding: m.ContentEncoding, ReplyTo: m.ReplyTo,
		AppId: m.AppID, Priority: m.Priority}
	if ms := m.TTL.Milliseconds(); ms > 0 { // with "0" RabbitMQ would drop what nobody takes at once
		msg.Expiration = strconv.FormatInt(ms, 10)
	}
	return msg
}

// decodeProperties reads what AMQP says of a message. A copy has the time to live in a
// header: as a property, it would begin anew.
func decodeProperties(m *holdfast.Message, d *amqp.Delivery) {
	m.Type, m.CorrelationID, m.ContentEncoding, m.AppID = d.Type, d.CorrelationId, d.ContentEncoding, d.AppId
	m.CausationID, m.Priority = HeaderText(d.Headers[HeaderCausation]), d.Priority
	if _, call := d.Headers[HeaderSaga]; !call { // whose reply-to is ours
		m.ReplyTo = d.ReplyTo
	}
	text := d.Expiration
	if text == "" {
		text = HeaderText(d.Headers[HeaderExpiration])
	}
	if ms, err := strconv.ParseUint(text, 10, 64); err == nil {
		m.TTL = time.Duration(min(ms, uint64(holdfast.MaxTTL.Milliseconds()))) * time.Millisecond
	}
}

// DecodeMessage reads a delivery, of Holdfast's or of a foreign publisher. The
// limits on topic, key and headers are not enforced: what is in a queue can no
// longer be refused.
func DecodeMessage(d *amqp.Delivery) (m holdfast.Message, tx, group string, err error) {
	m = holdfast.Message{
		ID:          d.MessageId,
		Topic:       HeaderText(d.Headers[HeaderTopic]),
		Key:         HeaderText(d.Headers[HeaderKey]),
		ContentType: d.ContentType,
		Body:        d.Body,
	}
	decodeProperties(&m, d)
	tx, group = HeaderText(d.Headers[HeaderTx]), HeaderText(d.Headers[HeaderGroup])
	if m.Topic == "" {
		m.Topic = d.RoutingKey
		if first, retried := d.Headers[HeaderRoutingKey]; retried {
			m.Topic = HeaderText(first)
		}
	}
	for name, value := range d.Headers {
		if user, ok := strings.CutPrefix(name, HeaderUser); ok {
			name = user
		} else if strings.HasPrefix(strings.ToLower(name), holdfast.ReservedHeader) || brokersOwn(name) {
			continue
		}
		if m.Headers == nil {
			m.Headers = make(map[string]string, len(d.Headers))
		}
		m.Headers[name] = HeaderText(value)
	}
	switch v := HeaderText(d.Headers[HeaderVersion]); {
	case v != "" && v != Version:
		return m, tx, group, Malformed("message of version %q, this program reads version %s: upgrade it", Clip(v, 64),
			Version)
	case len(m.ID) > 255:
		return m, tx, group, Malformed("the message's ID has %d bytes", len(m.ID))
	}
	return m, tx, group, nil
}

// StorableID says why an ID cannot be written into an inbox row, which is what keeps
// the message's effect from happening twice; nil if it can.
func StorableID(id string) error {
	switch {
	case id == "":
		return Malformed("the message has no message-id, so that its effect could not be kept from happening twice: " +
			"publish it with one, or take it with HandleAtLeastOnce")
	case !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		return Malformed("the message-id %.60q is not text: publish the message with one in UTF-8 without zero "+
			"bytes, such as a UUID in its usual form, or take it with HandleAtLeastOnce", id)
	}
	return nil
}

// PublishedTo is the exchange and the routing key that a delivery was first published
// with: it may be a copy of that.
func PublishedTo(d *amqp.Delivery) (exchange, key string) {
	if first, copied := d.Headers[HeaderRoutingKey]; copied {
		return HeaderText(d.Headers[HeaderExchange]), HeaderText(first)
	}
	return d.Exchange, d.RoutingKey
}

// CopyOf is a delivery as it is published once more: its body, its properties
// and its headers, but not what RabbitMQ added, by which it would find cycles and
// grow without end.
func CopyOf(d *amqp.Delivery) amqp.Publishing {
	msg := sameAs(d)
	if _, before := msg.Headers[HeaderRoutingKey]; !before {
		msg.Headers[HeaderRoutingKey] = Clip(d.RoutingKey, 255)
		setText(msg.Headers, HeaderExchange, d.Exchange)
		// As properties, these two would make RabbitMQ drop or refuse the copy.
		setText(msg.Headers, HeaderExpiration, d.Expiration)
		setText(msg.Headers, HeaderUserID, d.UserId)
	}
	return msg
}

// sameAs has the body, properties and headers of a delivery, but for the headers
// that RabbitMQ added and the properties expiration and user-id, which it would
// act on.
func sameAs(d *amqp.Delivery) amqp.Publishing {
	headers := make(amqp.Table, len(d.Headers)+16)
	for name, value := range d.Headers {
		if !brokersOwn(name) && name != HeaderSignature { // that of a copy is another one
			headers[escapeHeader(name)] = value
		}
	}
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

// Again is a delivery to be published once more: its body, properties and
// headers as they are, except what RabbitMQ added, and what it would act on.
func Again(d *amqp.Delivery) amqp.Publishing {
	msg := sameAs(d)
	if d.Expiration != "" {
		msg.Headers[HeaderExpiration] = d.Expiration
	}
	if d.UserId != "" {
		msg.Headers[HeaderUserID] = d.UserId
	}
	return msg
}
