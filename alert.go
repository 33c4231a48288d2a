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
	// AlertWaiting: sagas wait longer than a minute for a participant's reply. It is told
	// once in a while, not for each saga: ID is one of them.
	AlertWaiting AlertKind = "waiting"
	// AlertRetryWaits: a message of a consumer is to wait on its retry ladder until more than
	// 10 minutes after its first failure. Told once while that goes on in a process, not for
	// each message: ID is the first one.
	AlertRetryWaits AlertKind = "retry-waits"
	// AlertBreakerWaits: a consumer's circuit breaker has not closed for 5 minutes.
	// AlertBreakerClosed tells of the end.
	AlertBreakerWaits AlertKind = "breaker-waits"
	// AlertDeliveryWaits: transactions have been committed for more than a minute, and
	// RabbitMQ has not taken their messages yet. Told once while that goes on, not for each:
	// ID is the first one.
	AlertDeliveryWaits AlertKind = "delivery-waits"
	// AlertQueuesLost: queues were missing in RabbitMQ, which came back empty, say.
	// They were made again; what was in them is lost.
	AlertQueuesLost AlertKind = "queues-lost"
	// AlertDeadLettersExpire: a policy of RabbitMQ's takes dead letters out of their
	// queue. They were put back.
	AlertDeadLettersExpire AlertKind = "dead-letters-expire"
	// AlertUndecidedWaits: half messages are undecided, and wait in the half queue,
	// since no process of the group that has Temporal runs, or none that keeps that queue.
	// Once an hour at most.
	AlertUndecidedWaits AlertKind = "undecided-waits"
	// AlertBreakerOpened: a consumer pauses, because its every delivery fails.
	AlertBreakerOpened AlertKind = "breaker-opened"
	// AlertBreakerClosed: it goes on.
	AlertBreakerClosed AlertKind = "breaker-closed"
	// AlertConsumerPaused: an operator has paused a consumer, or a process of a paused one has
	// begun. ID is the pause's.
	AlertConsumerPaused AlertKind = "consumer-paused"
	// AlertConsumerResumed: nobody pauses it any more.
	AlertConsumerResumed AlertKind = "consumer-resumed"
	// AlertOtherDatabase: processes of one group, or of one consumer, use different
	// databases.
	AlertOtherDatabase AlertKind = "other-database"
	// AlertSameInstance: two processes of a group have the same Options.Instance, and
	// still have it a minute after that was seen.
	AlertSameInstance AlertKind = "same-instance"
	// AlertClock: a process's clock and its database's differ by more than a minute,
	// or the database's has jumped: no old rows are deleted.
	AlertClock AlertKind = "clock"
	// AlertQueueFull: a queue refuses messages: it is at its limit. Consumer is whose it
	// is, if that is known.
	AlertQueueFull AlertKind = "queue-full"
	// AlertPublishRefused: RabbitMQ, or one of its limits, refuses a record for good.
	AlertPublishRefused AlertKind = "publish-refused"
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
	// Link is the page of the console where it is looked at and mended; empty: no console is
	// known to the process that tells it.
	Link string `json:"link,omitempty"`
}
