package broker

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

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

func encodeLog(log []holdfast.Attempt) string {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(log); err != nil {
		return "" // a year beyond 9999 in a log that somebody else wrote
	}
	return strings.TrimSuffix(text.String(), "\n")
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
