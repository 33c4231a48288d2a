package broker

import (
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// The records that go through RabbitMQ are made and read by package wire; what of them
// is seen outside has its names here.

// What is published and consumed beside plain messages.
type (
	// SagaCall is what a saga's message to a participant says beside its body.
	SagaCall = wire.SagaCall
	// SagaReply is a participant's answer to a SagaCall.
	SagaReply = wire.SagaReply
	// Notice is what a compensation notice says beside the message that it is about.
	Notice = wire.Notice
	// RedeliverRequest asks for a dead letter to be delivered again.
	RedeliverRequest = wire.RedeliverRequest
	// HandledRecord says that a redelivered message was handled.
	HandledRecord = wire.HandledRecord
	// CheckTx is a transaction that is asked about.
	CheckTx = wire.CheckTx
	// CheckAnswer is what is known of one transaction.
	CheckAnswer = wire.CheckAnswer
)

// What processes tell each other.
type (
	// ProcessStatus is the answer of one process to [Broker.Ask].
	ProcessStatus = wire.ProcessStatus
	// ConsumerStatus is how one process's consumer is.
	ConsumerStatus = wire.ConsumerStatus
	// KeeperStatus is how one process's Keeper is.
	KeeperStatus = wire.KeeperStatus
	// KeeperCounts are what a Keeper counts since Keep began.
	KeeperCounts = wire.KeeperCounts
	// PeekedHalf is an undecided half message that a Keeper holds.
	PeekedHalf = wire.PeekedHalf
	// RefusedRecord is a record that RabbitMQ refused, as doctor sees it.
	RefusedRecord = wire.RefusedRecord
	// FullQueue is a queue that refused publishes of a process, as doctor sees it.
	FullQueue = wire.FullQueue
	// ConnectionLosses tells of a connection to RabbitMQ that was lost several times
	// within 10 minutes.
	ConnectionLosses = wire.ConnectionLosses
	// DatabaseStatus is a database as one process sees it.
	DatabaseStatus = wire.DatabaseStatus
	// SigningStatus is what one process does with signatures of records.
	SigningStatus = wire.SigningStatus
	// Trouble is something that is wrong with a process.
	Trouble = wire.Trouble
	// SagaDefinition is a saga that a process can run.
	SagaDefinition = wire.SagaDefinition
	// Bound is a consumer as its own process described it.
	Bound = wire.Bound
)

// The states of a consumer's circuit breaker.
const (
	BreakerClosed  = wire.BreakerClosed
	BreakerOpen    = wire.BreakerOpen
	BreakerProbing = wire.BreakerProbing
)

// What a connection is for.
const (
	RolePublishing = wire.RolePublishing
	RoleConsuming  = wire.RoleConsuming
)

const (
	// MaxSagaResult limits the result in a participant's reply, in bytes of JSON.
	MaxSagaResult = wire.MaxSagaResult
	// MaxHalfQueues is how many half queues a group has at most.
	MaxHalfQueues = wire.MaxHalfQueues
	// MaxPeek is how many half messages of one Keeper Peek shows at most.
	MaxPeek = wire.MaxPeek
)

// ErrUnreached means that nobody answered a check-back over RabbitMQ.
var ErrUnreached = wire.ErrUnreached

// DelayQueue is [Broker.RetryQueue] with a prefix.
func DelayQueue(prefix string, delay time.Duration) string { return wire.DelayQueue(prefix, delay) }

// ConsumerOf returns the name of the consumer whose queue it is; empty: it is none's.
func ConsumerOf(prefix, queue string) string { return wire.ConsumerOf(prefix, queue) }

// GroupOf returns the producer group whose half queue it is; empty: it is none's.
func GroupOf(prefix, queue string) string { return wire.GroupOf(prefix, queue) }
