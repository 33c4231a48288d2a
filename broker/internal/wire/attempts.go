package wire

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
	LogFirst    = 2
	LogLast     = 10
	MaxLogError = 300
	MaxLog      = 16 << 10
	MaxCount    = 1_000_000
)

// MaxRetryHeaders leaves room in the frame of 128 KiB for the properties.
const MaxRetryHeaders = 120 << 10

// Attempts is what the headers of a delivery say about it.
type Attempts struct {
	Failed     int // attempts that failed and count
	Lost       int // redeliveries since an attempt last returned
	Hops       int // delays still to wait
	Redelivery int // number of the operator's redelivery, 0 for none
}

// ReadAttempts reads the counts from the headers of a delivery.
func ReadAttempts(h amqp.Table) Attempts {
	return Attempts{
		Failed:     HeaderCount(h, HeaderAttempts),
		Lost:       HeaderCount(h, HeaderLost),
		Hops:       HeaderCount(h, HeaderHops),
		Redelivery: HeaderCount(h, HeaderRedelivery),
	}
}

// ReadLog returns nil for a log that cannot be read.
func ReadLog(h amqp.Table) (log []holdfast.Attempt) {
	v, ok := h[HeaderLog]
	if !ok {
		return nil
	}
	text := HeaderText(v)
	if len(text) > MaxLog || json.Unmarshal([]byte(text), &log) != nil {
		return nil
	}
	return log
}

// Logged adds an attempt to a log and leaves out the middle of a long one. n is
// its number where the log is empty.
func Logged(log []holdfast.Attempt, n int, class holdfast.ErrorClass, reason string, at time.Time) []holdfast.Attempt {
	if len(log) > 0 {
		n = log[len(log)-1].N + 1
	}
	log = append(log, holdfast.Attempt{N: n, At: at.UTC(), Class: class, Error: OneLine(reason, MaxLogError)})
	if over := len(log) - LogFirst - LogLast; over > 0 {
		log = append(log[:LogFirst], log[LogFirst+over:]...)
	}
	return log
}

// EncodeLog makes the header of the log of attempts.
func EncodeLog(log []holdfast.Attempt) string {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(log); err != nil {
		return "" // a year beyond 9999 in a log that somebody else wrote
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// Failure is what the headers of a retry or a dead letter say about the attempts
// so far.
type Failure struct {
	Attempts
	Log    []holdfast.Attempt
	Class  holdfast.ErrorClass // of the last attempt
	Reason string
}

// EncodeRetry is the copy of a delivery that is to be tried again. It reports false
// if the message's own headers leave no room in the frame.
func EncodeRetry(d *amqp.Delivery, consumer string, f Failure) (amqp.Publishing, bool) {
	msg := CopyOf(d)
	h := msg.Headers
	setText(h, HeaderConsumer, consumer)
	SetCount(h, HeaderAttempts, f.Failed)
	SetCount(h, HeaderLost, f.Lost)
	SetCount(h, HeaderHops, f.Hops)
	setText(h, HeaderErrorClass, string(f.Class))
	h[HeaderReason] = OneLine(f.Reason, MaxReason)
	h[HeaderLog] = EncodeLog(f.Log)
	return msg, headersSize(h) <= MaxRetryHeaders
}
