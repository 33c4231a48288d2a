package holdfast

import "time"

// AlertKind is what an [Alert] is about.
type AlertKind string

// The kinds.
const (
	// AlertParked: a transaction waits for an operator, or a dead letter that died
	// again, or whose redelivery or compensation was not possible, or a saga, one of
	// whose steps failed for good or could not be undone.
	AlertParked AlertKind = "parked"
	// AlertDeadLetter: a consumer has given up a message, which waits for an
	// operator from now on unless the consumer's policy acts.
	AlertDeadLetter AlertKind = "dead-letter"
	// AlertBreakerOpened: a consumer pauses, because its every delivery fails.
	AlertBreakerOpened AlertKind = "breaker-opened"
	// AlertBreakerClosed: it goes on.
	AlertBreakerClosed AlertKind = "breaker-closed"
)

// Alert is something that a person should know soon. Which fields are set
// depends on the kind.
type Alert struct {
	Kind AlertKind `json:"kind"`
	At   time.Time `json:"at"`
	// Group and Consumer say whose it is.
	Group    string `json:"group,omitempty"`
	Consumer string `json:"consumer,omitempty"`
	// ID is the transaction's, the message's or the saga's, Topic and Key are the
	// message's; a saga's Topic is its name.
	ID    string `json:"id,omitempty"`
	Topic string `json:"topic,omitempty"`
	Key   string `json:"key,omitempty"`
	// WorkflowID is the workflow that waits.
	WorkflowID string `json:"workflow_id,omitempty"`
	// Parked says that it waits for an operator, and does nothing by itself. A dead
	// letter may, from the moment that it arrives.
	Parked bool `json:"parked,omitempty"`
	// Class is the error's class.
	Class ErrorClass `json:"class,omitempty"`
	// Reason says why, Remedy what to do.
	Reason string `json:"reason,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}
