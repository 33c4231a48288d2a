package wire

import (
	amqp "github.com/rabbitmq/amqp091-go"

	"time"
)

// What the names of exchanges have behind the prefix.
const (
	TopicsName  = ".topics"      // committed messages and calls
	NoticesName = ".compensated" // compensation notices
	HalfName    = ".half"        // to the half queues, by their names
	SagasName   = ".sagas"       // to the half queues, by their names: sagas
	QueuesName  = ".queues"      // to consumers' queues, by their names
	RetryName   = ".retry"       // out of the delay queues
	DeadName    = ".dead"        // to the dead letters
	RepliesName = ".replies"     // to the reply queues, by their names
	ChecksName  = ".check"       // to the queues of check-backs, by their names
	AnswersName = ".answers"     // to whoever asked
	AlertsName  = ".alerts"      // alerts, to those who tell people
	HookName    = ".hook."       // queues of alerts that stay, by who takes them
	PausesName  = ".pauses"      // pauses of consumers, to the stream that keeps them

	// Behind the name of the queue of dead letters.
	OversizedName = ".oversized"
	ExpiredName   = ".expired"
)

// MaxPrefix is how many bytes a prefix has at most.
const MaxPrefix = 40

// Names are the names of the exchanges and queues of one installation.
type Names struct {
	// Prefix begins each of them.
	Prefix string
	// Halves is how many half queues a group has.
	Halves int
}

// TopicsExchange is the name of the topic exchange of committed messages.
func (n Names) TopicsExchange() string { return n.Prefix + TopicsName }

// NoticesExchange is the name of the topic exchange of compensation notices; the
// routing key is the topic of the message that was compensated.
func (n Names) NoticesExchange() string { return n.Prefix + NoticesName }

// HalfExchange leads to the half queues, by their names. So do the next two, to
// consumers' queues and to reply queues.
func (n Names) HalfExchange() string    { return n.Prefix + HalfName }
func (n Names) QueuesExchange() string  { return n.Prefix + QueuesName }
func (n Names) RepliesExchange() string { return n.Prefix + RepliesName }

// SagasExchange leads to the half queues, too, with the half records of sagas: whoever may
// have a transaction checked back may not start a saga.
func (n Names) SagasExchange() string { return n.Prefix + SagasName }

// HalfExchangeOf is the exchange through which a half record with these headers has to
// come.
func (n Names) HalfExchangeOf(headers amqp.Table) string {
	if IsSaga(headers) {
		return n.SagasExchange()
	}
	return n.HalfExchange()
}

// ChecksExchange leads to the queues of check-backs, AnswersExchange to those of the
// processes that ask.
func (n Names) ChecksExchange() string  { return n.Prefix + ChecksName }
func (n Names) AnswersExchange() string { return n.Prefix + AnswersName }

// RetryExchange leads from the delay queues back to the consumers' queues.
func (n Names) RetryExchange() string { return n.Prefix + RetryName }

// AlertsExchange leads to the queues of those who tell people of alerts.
func (n Names) AlertsExchange() string { return n.Prefix + AlertsName }

// PausesExchange leads to the stream of the same name, which keeps the pauses of consumers,
// with that name as routing key; and to the queues in which ends of pauses wait for their
// time, by the pauses' IDs.
func (n Names) PausesExchange() string { return n.Prefix + PausesName }

// PauseEndQueue is the name of the queue in which the end of a pause waits for its time.
func (n Names) PauseEndQueue(id string) string { return n.PausesExchange() + ".end." + id }

// StatusExchange leads to the queues of the processes that answer status requests.
func (n Names) StatusExchange() string { return n.Prefix + ".status" }

// RetryQueue is the name of the queue in which messages wait for delay before
// they are tried again, and of the fanout exchange that leads to it. All
// consumers share it.
func (n Names) RetryQueue(delay time.Duration) string { return DelayQueue(n.Prefix, delay) }

// HeldQueue is the name of the queue in which messages wait for room in a consumer's
// queue that refused them, and of the fanout exchange that leads to it. It is made
// when it is needed.
func (n Names) HeldQueue(consumer string) string { return n.Prefix + RetryName + ".full." + consumer }

// DeadQueue is the name of the queue of dead letters, and of the fanout exchange
// that leads to it.
func (n Names) DeadQueue() string { return DeadQueue(n.Prefix) }

// OversizedQueue is the name of the queue that keeps dead messages which are too
// large for a workflow.
func (n Names) OversizedQueue() string { return n.DeadQueue() + OversizedName }

// ExpiredQueue is the name of the queue of what RabbitMQ has taken out of the queue
// of dead letters, and of the fanout exchange that leads to it.
func (n Names) ExpiredQueue() string { return n.DeadQueue() + ExpiredName }

// ConsumerQueue is the name of a consumer's queue.
func (n Names) ConsumerQueue(name string) string { return n.Prefix + ".q." + name }

// AloneQueue is the name of the queue of those messages of a consumer that were
// lost twice in a row with the process that had them.
func (n Names) AloneQueue(consumer string) string { return n.Prefix + ".alone." + consumer }

// HalfQueue is the name of a producer group's first half queue; every group has
// that one.
func (n Names) HalfQueue(group string) string { return HalfQueue(n.Prefix, group, 1) }

// HalfQueues are the names of a producer group's half queues, as many as the process's
// options say.
func (n Names) HalfQueues(group string) []string {
	names := make([]string, n.Halves)
	for i := range names {
		names[i] = HalfQueue(n.Prefix, group, i+1)
	}
	return names
}

// HalfQueueOf is the name of the half queue that has the half message and the op
// record of a transaction. It is part of the wire format: whoever has as many half
// queues finds the same one.
func (n Names) HalfQueueOf(group, txID string) string {
	return HalfQueue(n.Prefix, group, HalfQueueNumber(txID, n.Halves))
}

// CheckQueue is the name of the queue in which the processes of a producer group
// that are written in other languages get check-backs. They declare it.
func (n Names) CheckQueue(group string) string { return n.Prefix + ChecksName + "." + group }

// ReplyQueue is the name of the durable queue of the replies to a producer group's
// sagas.
func (n Names) ReplyQueue(group string) string { return RepliesPrefix(n.Prefix) + group }

// AlertQueue is the name of the queue of the alerts that nobody took.
func (n Names) AlertQueue() string { return n.Prefix + AlertsName }

// HookQueue is the name of the queue that an administrator makes of the alerts of those
// who take the same ones.
func (n Names) HookQueue(name string) string { return n.Prefix + HookName + name }
