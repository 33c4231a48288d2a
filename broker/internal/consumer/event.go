package consumer

import (
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// EventKind is what an [Event] is about.
type EventKind string

// The kinds.
const (
	// EventAttemptOK: a handler succeeded.
	EventAttemptOK EventKind = "attempt-ok"
	// EventAttemptFailed: a handler failed.
	EventAttemptFailed EventKind = "attempt-failed"
	// EventRetry: a message was put back, to be tried again after Delay.
	EventRetry EventKind = "retry"
	// EventDead: a message was stored with the dead letters.
	EventDead EventKind = "dead"
	// EventLost: a message came again, and what became of it is not known: its
	// process was killed, lost its connection, or gave it back untried.
	EventLost EventKind = "lost"
	// EventBreaker: the circuit breaker changed its state.
	EventBreaker EventKind = "breaker"
	// EventPause: an operator has paused the consumer, or has it go on.
	EventPause EventKind = "pause"
)

// Event is something that happened to a consumer. Which fields are set depends
// on the kind.
type Event struct {
	Kind     EventKind
	Consumer string
	// MessageID, Topic, Key, TxID and Group say which message.
	MessageID, Topic, Key, TxID, Group string
	// Headers are the message's, which are not to be changed.
	Headers map[string]string
	// Redelivery is the number of the operator's redelivery, 0 for none.
	Redelivery int
	// Class and Reason say how an attempt failed; Reason also why the breaker
	// opened.
	Class  holdfast.ErrorClass
	Reason string
	// Attempts counts the message's attempts that failed and count; of
	// EventLost and EventDead, those that were lost as well.
	Attempts int
	// Took is how long the attempt took.
	Took time.Duration
	// Sent is when the message's transaction was begun, by its ID, or else when it was first
	// published, to the second: by the clock of who did that. Zero: it does not say, or is a
	// compensation notice. Of EventAttemptOK only.
	Sent time.Time
	// Delay is how long a retry waits at the least, or a breaker that opened
	// pauses. A retry without delay is at its queue's end.
	Delay time.Duration
	// Long says, of a retry, that the message is to wait until more than [LongRetry] after
	// its first failure, which was said of none of its retries before. Since is that failure.
	Long  bool
	Since time.Time
	// Breaker is the breaker's new state.
	Breaker string
	// Pause is the operator's pause, of EventPause; nil: it has ended.
	Pause *wire.Pause
}
