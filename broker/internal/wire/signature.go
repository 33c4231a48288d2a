package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// A signature says that a record was written by somebody who has the installation's key, for the
// exchange and the routing key with which it was published. It stands in one header, and is a
// code of everything that anybody decides by. See docs/wire-format.md.

// HeaderSignature has a record's signature: version, name of the key and code, by colons.
const HeaderSignature = "holdfast-signature"

// HeaderRefused marks a delivery whose signature does not count, and says why. Nobody writes
// it from outside: it is put there once a record was looked at, and goes with the copies that
// are made of it until then, so that none of them is taken for genuine.
const HeaderRefused = "holdfast-refused"

const (
	signatureVersion = "1"
	signedBegin      = "holdfast record 1\x00"
	maxSignature     = 512
	maxKeyName       = 100
	directReplyTo    = "amq.rabbitmq.reply-to" // RabbitMQ puts the asker's channel behind it
)

// Checker says why a delivery's signature for a place does not count; nil: it does, or none is
// needed.
type Checker func(exchange, key string, d *amqp.Delivery) error

// signedRecord is what of a record is signed beside its place.
type signedRecord struct {
	contentType, contentEncoding, correlationID, replyTo, messageID, kind, appID string
	headers                                                                      amqp.Table
	body                                                                         []byte
}

// unsigned reports whether a header is left out of what is signed: the signature itself,
// and what brokers write on a record's way.
func unsigned(name string) bool {
	switch name {
	case HeaderSignature, "x-stream-offset", "timestamp_in_ms", "x-routed-by", "x-received-from",
		"x-shovelled", "x-shovelled-timestamp":
		return true
	}
	return brokersOwn(name) || strings.HasPrefix(name, "x-opt-")
}

// signedBytes is what is signed.
func signedBytes(exchange, key string, r *signedRecord) []byte {
	if strings.HasPrefix(r.replyTo, directReplyTo) {
		r.replyTo = directReplyTo
	}
	out := make([]byte, 0, 1024)
	add := func(s string) {
		out = binary.AppendUvarint(out, uint64(len(s)))
		out = append(out, s...)
	}
	out = append(out, signedBegin...)
	for _, s := range [...]string{exchange, key, r.contentType, r.contentEncoding, r.correlationID, r.replyTo, r.messageID,
		r.kind, r.appID} {
		add(s)
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(r.headers)), unsigned)
	out = binary.AppendUvarint(out, uint64(len(names)))
	for _, name := range names {
		add(name)
		add(HeaderText(r.headers[name]))
	}
	sum := sha256.Sum256(r.body)
	return append(out, sum[:]...)
}

// Signable reports whether a record that goes to this exchange is one that is signed: every
// control record, and of what goes to the topics the calls of sagas.
func (n Names) Signable(exchange string, headers amqp.Table) bool {
	if exchange == n.TopicsExchange() {
		return headers[HeaderSaga] != nil
	}
	return strings.HasPrefix(exchange, n.Prefix+".")
}

// Sign gives a record its signature for a place, in headers of its own, and returns the key's name.
func Sign(s holdfast.Signer, exchange, key string, m *amqp.Publishing) (name string, err error) {
	name, code, err := s.Sign(signedBytes(exchange, key, &signedRecord{m.ContentType, m.ContentEncoding, m.CorrelationId,
		m.ReplyTo, m.MessageId, m.Type, m.AppId, m.Headers, m.Body}))
	if err != nil {
		return "", fmt.Errorf("sign the record %s: %w", m.MessageId, err)
	}
	text := signatureVersion + ":" + name + ":" + base64.RawURLEncoding.EncodeToString(code)
	if name == "" || len(name) > maxKeyName || strings.Contains(name, ":") || len(text) > maxSignature {
		return "", fmt.Errorf("%w: Options.Signer: its key %.120q, code of %d bytes: want a name of 1 to %d bytes without "+
			"colon, and a short code", holdfast.ErrInvalid, name, len(code), maxKeyName)
	}
	headers := make(amqp.Table, len(m.Headers)+1)
	maps.Copy(headers, m.Headers)
	headers[HeaderSignature] = text
	m.Headers = headers
	return name, nil
}

// CheckSignature says why a delivery's signature for a place is not genuine.
func CheckSignature(s holdfast.Signer, exchange, key string, d *amqp.Delivery) error {
	text := HeaderText(d.Headers[HeaderSignature])
	if text == "" {
		return fmt.Errorf("%w: it is not signed", holdfast.ErrForged)
	}
	version, rest, _ := strings.Cut(text, ":")
	name, code, ok := strings.Cut(rest, ":")
	raw, err := base64.RawURLEncoding.DecodeString(code)
	if !ok || err != nil || name == "" || len(name) > maxKeyName || len(text) > maxSignature {
		return fmt.Errorf("%w: the header %s is malformed", holdfast.ErrForged, HeaderSignature)
	}
	if version != signatureVersion {
		return fmt.Errorf("%w: the signature is of version %q, this program reads %s: upgrade it", holdfast.ErrForged,
			Clip(version, 16), signatureVersion)
	}
	return s.Check(name, raw, signedBytes(exchange, key, &signedRecord{d.ContentType, d.ContentEncoding, d.CorrelationId,
		d.ReplyTo, d.MessageId, d.Type, d.AppId, d.Headers, d.Body}))
}

// place is the exchange and the routing key that a delivery was published with, before
// RabbitMQ moved it. A delay queue changes no routing key: so a retry counts in the queue that
// it was put into a delay for, whatever its header x-death says, which is not signed.
func (t Trust) place(d *amqp.Delivery) (exchange, key string) {
	if moved(d.Headers) {
		if last, ok := lastDeath(t.Prefix, d); ok {
			if d.Exchange == t.Prefix+RetryName {
				return last.exchange, d.RoutingKey
			}
			return last.exchange, last.key
		}
	}
	return d.Exchange, d.RoutingKey
}

// genuine says why a delivery's signature does not count, where one is needed.
func (t Trust) genuine(d *amqp.Delivery) error {
	if why := HeaderText(d.Headers[HeaderRefused]); why != "" {
		return Malformed("%s", Clip(why, MaxReason))
	}
	if t.Check == nil {
		return nil
	}
	exchange, key := t.place(d)
	if err := t.Check(exchange, key, d); err != nil {
		return t.forged(exchange, err)
	}
	return nil
}

// forged says in words what becomes of a record whose signature does not count.
func (t Trust) forged(exchange string, err error) error {
	return Malformed("a record that came through the exchange %q does not count: %w; HOLDFAST_SIGNING is required: "+
		"whoever wrote it does not sign, or has other keys, or forges; nothing was done with it",
		Clip(exchange, MaxShort), err)
}

// refuse removes from a delivery, whose signature does not count because of why, what
// commands, and marks it.
func refuse(d *amqp.Delivery, kind string, why error, keep func(name string) bool) {
	count(d, kind, func(name string) bool { return name != HeaderSignature && keep(name) })
	headers := make(amqp.Table, len(d.Headers)+1)
	maps.Copy(headers, d.Headers)
	headers[HeaderRefused] = Clip(strings.TrimPrefix(why.Error(), holdfast.ErrMalformed.Error()+": "), MaxReason)
	d.Headers = headers
}
