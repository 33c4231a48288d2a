package wire

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// What is not UTF-8, JSON could not carry: made UTF-8 it would be another text, and a
// longer one, which AMQP may not allow. So an envelope has it in base64.
const (
	// HeaderBase64 begins the name that a header has in an envelope if its value is not
	// UTF-8; if its name is not, HeaderBase64Name and the name in base64 are before that.
	HeaderBase64     = "holdfast-base64-"
	HeaderBase64Name = "holdfast-base64name-"
	// PropertyBase64 begins the name under which an envelope has such a property of AMQP's.
	PropertyBase64 = "holdfast-property-"
)

// envelope is what Redeliver needs beside the message. Its MessageID is set by
// the caller.
func envelope(d *amqp.Delivery) holdfast.Envelope {
	e := holdfast.Envelope{
		Exchange:        ValidUTF8(d.Exchange),
		RoutingKey:      ValidUTF8(d.RoutingKey),
		ContentEncoding: ValidUTF8(d.ContentEncoding),
		CorrelationID:   ValidUTF8(d.CorrelationId),
		ReplyTo:         ValidUTF8(d.ReplyTo),
		Type:            ValidUTF8(d.Type),
		AppID:           ValidUTF8(d.AppId),
		Priority:        d.Priority,
		Timestamp:       writableTime(d.Timestamp),
	}
	e.Headers = make(map[string]string, len(d.Headers))
	for _, p := range []struct{ name, value string }{{HeaderExpiration, d.Expiration}, {HeaderUserID, d.UserId}} {
		if p.value != "" {
			e.Headers[p.name] = ValidUTF8(p.value) // a new publish cannot have these properties
		}
	}
	for name, value := range d.Headers {
		if OfDeath(name) {
			continue
		}
		name, text := escapeHeader(name), HeaderText(value)
		if !utf8.ValidString(name) || strings.HasPrefix(name, HeaderBase64Name) ||
			strings.HasPrefix(name, PropertyBase64) {
			name = HeaderBase64Name + base64.RawURLEncoding.EncodeToString([]byte(name))
		}
		if !utf8.ValidString(text) || strings.HasPrefix(name, HeaderBase64) {
			name, text = HeaderBase64+name, base64.StdEncoding.EncodeToString([]byte(text))
		}
		e.Headers[name] = text
	}
	for _, p := range append(propertiesOf(&e),
		property{ContentType, nil, func(d *amqp.Delivery) string { return d.ContentType }}) {
		if raw := p.of(d); !utf8.ValidString(raw) {
			e.Headers[PropertyBase64+p.name] = base64.StdEncoding.EncodeToString([]byte(raw))
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

const ContentType = "content-type"

// contentTypeOf is a dead letter's content type as it was before JSON.
func contentTypeOf(l *holdfast.DeadLetter) string {
	raw, err := base64.StdEncoding.DecodeString(l.Envelope.Headers[PropertyBase64+ContentType])
	if err != nil || len(raw) == 0 || len(raw) > MaxShort {
		return Clip(l.Message.ContentType, MaxShort) // that of an older version may be longer
	}
	return string(raw)
}

// original is an envelope with its properties as they were before JSON.
func original(e holdfast.Envelope) holdfast.Envelope {
	for _, p := range propertiesOf(&e) {
		if text, ok := e.Headers[PropertyBase64+p.name]; ok {
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
				*p.in = string(raw)
			}
		}
		*p.in = Clip(*p.in, MaxShort) // in an envelope of an older version it may be longer
	}
	return e
}

// EnvelopeHeaders is the way back.
func EnvelopeHeaders(e *holdfast.Envelope) amqp.Table {
	headers := make(amqp.Table, len(e.Headers)+4)
	for name, text := range e.Headers {
		if strings.HasPrefix(name, PropertyBase64) {
			continue
		}
		if original, ok := strings.CutPrefix(name, HeaderBase64); ok {
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
				name, text = original, string(raw)
			}
		}
		if encoded, ok := strings.CutPrefix(name, HeaderBase64Name); ok {
			if raw, err := base64.RawURLEncoding.DecodeString(encoded); err == nil {
				name = string(raw)
			}
		}
		if len(name) <= MaxShort {
			headers[name] = text
		}
	}
	return headers
}

func validHeaders(h map[string]string) map[string]string {
	if len(h) == 0 {
		return nil
	}
	valid := make(map[string]string, len(h))
	for name, value := range h {
		valid[Clip(ValidUTF8(name), MaxShort)] = ValidUTF8(value)
	}
	return valid
}
