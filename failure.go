package holdfast

import (
	"errors"
	"time"
)

// ErrorClass says how an attempt, or a whole delivery, failed. It is text in the
// broker's headers and in workflows.
type ErrorClass string

// The classes.
const (
	// ClassError: the handler returned an error.
	ClassError ErrorClass = "error"
	// ClassTimeout: the handler did not end within its time limit.
	ClassTimeout ErrorClass = "timeout"
	// ClassPanic: the handler panicked.
	ClassPanic ErrorClass = "panic"
	// ClassLost: the process that had the delivery was killed, or lost its
	// connection, before the attempt returned.
	ClassLost ErrorClass = "lost"
	// ClassPermanent: the handler marked its error with [Permanent].
	ClassPermanent ErrorClass = "permanent"
	// ClassMalformed: the delivery is not what the wire format says.
	ClassMalformed ErrorClass = "malformed"
	// ClassDropped: RabbitMQ itself dead-lettered it, because of a limit on its
	// queue, or because its queue is gone.
	ClassDropped ErrorClass = "dropped"
)

// Attempt is one try of a delivery.
type Attempt struct {
	// N counts a message's attempts from 1, over all its deliveries.
	N int `json:"n"`
	// At is when it ended, by the clock of its process.
	At time.Time `json:"at"`
	// Class says how it failed.
	Class ErrorClass `json:"class"`
	// Error is its error's text, shortened.
	Error string `json:"error"`
}

// Failure says how a consumer failed on a message.
type Failure struct {
	// Consumer is the consumer that gave up; empty for a half queue's Keeper and
	// for what RabbitMQ dropped from elsewhere.
	Consumer string `json:"consumer,omitempty"`
	// Class is that of the last attempt.
	Class ErrorClass `json:"class"`
	// Reason is the last error's text, shortened.
	Reason string `json:"reason"`
	// Attempts is how often it was tried.
	Attempts int `json:"attempts"`
	// At is when it was given up.
	At time.Time `json:"at"`
	// Log are the attempts; of many, the first few and the last ones.
	Log []Attempt `json:"log,omitempty"`
	// Redelivery is the number of the operator's redelivery that failed so; 0
	// for the first death.
	Redelivery int `json:"redelivery,omitempty"`
}

// retryAfterError carries a handler's wish for the next attempt.
type retryAfterError struct {
	err   error
	after time.Duration
}

func (e retryAfterError) Error() string { return e.err.Error() }
func (e retryAfterError) Unwrap() error { return e.err }

// RetryAfter marks err as one that is worth trying again only after d: a consumer
// that returns it makes no immediate tries, and the message waits for the
// shortest delay of its retry ladder that is at least d, or several times the
// longest one, but not for more than about a year. It counts as an attempt.
// RetryAfter(d, nil) is nil.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return retryAfterError{err, d}
}

// RetryDelay returns what [RetryAfter] asked for, and whether it did.
func RetryDelay(err error) (time.Duration, bool) {
	var r retryAfterError
	ok := errors.As(err, &r)
	return r.after, ok
}
