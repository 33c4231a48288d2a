package broker

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// headerHops is how often a message is still to wait in the longest delay queue
// before it is tried.
const headerHops = "holdfast-hops"

// headerLong is there once somebody was told that the message waits for long.
const headerLong = "holdfast-long"

// LongRetry is how long after its first failure a message may still wait for a try,
// before somebody is told.
const LongRetry = 10 * time.Minute

// Limits of the log of attempts: with errors of quotes and backslashes only, it
// is below 10 KiB.
const (
	logFirst    = 2
	logLast     = 10
	maxLogError = 300
	maxLog      = 16 << 10
	maxCount    = 1_000_000
)

// maxRetryHeaders leaves room in the frame of 128 KiB for the properties.
const maxRetryHeaders = 120 << 10

// attempts is what the headers of a delivery say about it.
type attempts struct {
	failed     int // attempts that failed and count
	lost       int // redeliveries since an attempt last returned
	hops       int // delays still to wait
	redelivery int // number of the operator's redelivery, 0 for none
}

func readAttempts(h amqp.Table) attempts {
	return attempts{
		failed:     headerCount(h, headerAttempts),
		lost:       headerCount(h, headerLost),
		hops:       headerCount(h, headerHops),
		redelivery: headerCount(h, headerRedelivery),
	}
}

// headerCount is 0 for what is no number.
func headerCount(h amqp.Table, name string) int {
	v, ok := h[name]
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(headerText(v))
	if err != nil {
		return 0
	}
	return min(max(n, 0), maxCount)
}

// readLog returns nil for a log that cannot be read.
func readLog(h amqp.Table) (log []holdfast.Attempt) {
	v, ok := h[headerLog]
	if !ok {
		return nil
	}
	text := headerText(v)
	if len(text) > maxLog || json.Unmarshal([]byte(text), &log) != nil {
		return nil
	}
	return log
}

// logged adds an attempt to a log and leaves out the middle of a long one. n is
// its number where the log is empty.
func logged(log []holdfast.Attempt, n int, class holdfast.ErrorClass, reason string, at time.Time) []holdfast.Attempt {
	if len(log) > 0 {
		n = log[len(log)-1].N + 1
	}
	log = append(log, holdfast.Attempt{N: n, At: at.UTC(), Class: class, Error: oneLine(reason, maxLogError)})
	if over := len(log) - logFirst - logLast; over > 0 {
		log = append(log[:logFirst], log[logFirst+over:]...)
	}
	return log
}

// oneLine makes text that JSON hardly lengthens.
func oneLine(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, clip(s, n))
	return strings.ToValidUTF8(s, "?")
}

func encodeLog(log []holdfast.Attempt) string {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(log); err != nil {
		return "" // a year beyond 9999 in a log that somebody else wrote
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// copyOf is a delivery as it is published once more: its body, its properties
// and its headers, but not what RabbitMQ added, by which it would find cycles and
// grow without end.
func copyOf(d *amqp.Delivery) amqp.Publishing {
	msg := sameAs(d)
	if _, before := msg.Headers[headerRoutingKey]; !before {
		msg.Headers[headerRoutingKey] = clip(d.RoutingKey, 255)
		setText(msg.Headers, headerExchange, d.Exchange)
		// As properties, these two would make RabbitMQ drop or refuse the copy.
		setText(msg.Headers, headerExpiration, d.Expiration)
		setText(msg.Headers, headerUserID, d.UserId)
	}
	return msg
}

// sameAs has the body, properties and headers of a delivery, but for the headers
// that RabbitMQ added and the properties expiration and user-id, which it would
// act on.
func sameAs(d *amqp.Delivery) amqp.Publishing {
	headers := make(amqp.Table, len(d.Headers)+16)
	for name, value := range d.Headers {
		if !brokersOwn(name) {
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

// setText sets a header of Holdfast's, or removes it if there is no value.
func setText(headers amqp.Table, name, value string) {
	if value == "" {
		delete(headers, name)
		return
	}
	headers[name] = clip(value, 255)
}

func setCount(headers amqp.Table, name string, n int) {
	if n == 0 {
		delete(headers, name)
		return
	}
	headers[name] = strconv.Itoa(n)
}

// failure is what the headers of a retry or a dead letter say about the attempts
// so far.
type failure struct {
	attempts
	log    []holdfast.Attempt
	class  holdfast.ErrorClass // of the last attempt
	reason string
}

// retryOf is the copy of a delivery that is to be tried again. It reports false
// if the message's own headers leave no room in the frame.
func retryOf(d *amqp.Delivery, consumer string, f failure) (amqp.Publishing, bool) {
	msg := copyOf(d)
	h := msg.Headers
	setText(h, headerConsumer, consumer)
	setCount(h, headerAttempts, f.failed)
	setCount(h, headerLost, f.lost)
	setCount(h, headerHops, f.hops)
	setText(h, headerErrorClass, string(f.class))
	h[headerReason] = oneLine(f.reason, maxReason)
	h[headerLog] = encodeLog(f.log)
	return msg, headersSize(h) <= maxRetryHeaders
}

// fits reports whether a copy of a delivery can be published.
func (l limits) fits(msg *amqp.Publishing) bool {
	size, err := measure(msg)
	return err == nil && size <= l.room()
}
