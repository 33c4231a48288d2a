package topology

import (
	"maps"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// deliveryLimit is how often a quorum queue delivers before it drops. It is a
// large number and not "unlimited" because -1 means "drop at the first
// requeue" to RabbitMQ 3.10 and unset means 20 to RabbitMQ 4.
const deliveryLimit = 100_000_000

func quorum() amqp.Table {
	return amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int64(deliveryLimit)}
}

// Guarded are the arguments of a queue whose broker-side drops go to the queue of dead letters,
// at least once: that strategy needs reject-publish.
func (t *Maker) Guarded() amqp.Table {
	args := quorum()
	args["x-dead-letter-exchange"] = ""
	args["x-dead-letter-routing-key"] = t.c.DeadQueue()
	args["x-dead-letter-strategy"] = "at-least-once"
	args["x-overflow"] = "reject-publish"
	return args
}

// delayed is a queue that messages leave after delay, for the queue whose name
// they were published with as routing key; at least once, and if that queue is
// gone, for the dead letters.
func (t *Maker) delayed(delay time.Duration) amqp.Table {
	args := quorum()
	args["x-message-ttl"] = delay.Milliseconds()
	args["x-dead-letter-exchange"] = t.c.RetryExchange()
	args["x-dead-letter-strategy"] = "at-least-once"
	args["x-overflow"] = "reject-publish"
	return args
}

// BaseSteps make what every process needs.
func (t *Maker) BaseSteps() []Step {
	steps := []Step{
		ExchangeStep(t.c.TopicsExchange(), amqp.ExchangeTopic, nil),
		ExchangeStep(t.c.NoticesExchange(), amqp.ExchangeTopic, nil),
		ExchangeStep(t.c.HalfExchange(), amqp.ExchangeDirect, nil),
		ExchangeStep(t.c.SagasExchange(), amqp.ExchangeDirect, nil),
		ExchangeStep(t.c.QueuesExchange(), amqp.ExchangeDirect, nil),
		ExchangeStep(t.c.RepliesExchange(), amqp.ExchangeDirect, nil),
	}
	steps = slices.Concat(steps, t.deadSteps(), t.exitSteps(), t.delaySteps([]time.Duration{Postponed}))
	return sharedBy(steps...)
}

// sharedBy marks steps whose objects belong to all processes.
func sharedBy(steps ...Step) []Step {
	for i := range steps {
		steps[i].shared = true
	}
	return steps
}

// exitSteps make the way out of the delay queues. An alternate exchange catches
// what is meant for a queue that is gone: at-least-once dead-lettering would try
// that again for ever.
func (t *Maker) exitSteps() []Step {
	return []Step{ExchangeStep(t.c.RetryExchange(), amqp.ExchangeDirect,
		amqp.Table{"alternate-exchange": t.c.DeadQueue()})}
}

func (t *Maker) delaySteps(delays []time.Duration) (steps []Step) {
	for _, d := range delays {
		name := t.c.RetryQueue(d)
		bound := bindStep(name, "", name)
		bound.shared = true
		steps = append(steps, queueStep(name, t.delayed(d)), ExchangeStep(name, amqp.ExchangeFanout, nil), bound)
	}
	return steps
}

func (t *Maker) groupSteps(group string) []Step {
	args := t.Guarded()
	args["x-single-active-consumer"] = true
	var steps []Step
	for _, name := range t.c.HalfQueues(group) {
		steps = append(steps, queueStep(name, args), bindStep(name, name, t.c.HalfExchange()),
			bindStep(name, name, t.c.SagasExchange()))
	}
	return steps
}

// consumerSteps come after exitSteps with nothing in between: what a delay queue
// lets go meanwhile ends with the dead letters.
func (t *Maker) consumerSteps(name string, to wire.Bindings) []Step {
	queue := t.c.ConsumerQueue(name)
	alone := t.c.AloneQueue(name)
	steps := []Step{
		queueStep(queue, t.Guarded()), bindStep(queue, queue, t.c.RetryExchange()),
		bindStep(queue, queue, t.c.QueuesExchange()),
		queueStep(alone, t.Guarded()), bindStep(alone, alone, t.c.RetryExchange()),
		bindStep(alone, alone, t.c.QueuesExchange()),
	}
	for _, topic := range to.Topics {
		steps = append(steps, bindStep(queue, topic, t.c.TopicsExchange()))
	}
	for _, topic := range to.Noticed() {
		steps = append(steps, bindStep(queue, topic, t.c.NoticesExchange()))
		switch old := topic + holdfast.CompensatedSuffix; {
		case slices.Contains(to.Topics, old): // an application's own
		case t.c.Rolling:
			steps = append(steps, bindStep(queue, old, t.c.TopicsExchange()))
		default:
			steps = append(steps, unbindStep(queue, old, t.c.TopicsExchange()))
		}
	}
	return steps
}

// CheckWait is how long the answer to a check-back is waited for, and how long a request
// stays in its queue: nobody waits for what is older.
const CheckWait = 10 * time.Second

// CheckSteps make what check-backs of groups in other languages go through.
func (t *Maker) CheckSteps() []Step {
	return sharedBy(ExchangeStep(t.c.ChecksExchange(), amqp.ExchangeDirect, nil), ExchangeStep(t.c.AnswersExchange(),
		amqp.ExchangeDirect, nil))
}

// answererSteps make the queue of the check-backs of such a group, whose processes may
// not make it.
func (t *Maker) answererSteps(group string) []Step {
	queue, args := t.c.CheckQueue(group), quorum()
	args["x-message-ttl"] = CheckWait.Milliseconds()
	return []Step{queueStep(queue, args), bindStep(queue, queue, t.c.ChecksExchange())}
}

// All are the steps of all that this process has declared.
func (t *Maker) All() []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.groups)+len(t.consumers)+len(t.replies) == 0 {
		return nil
	}
	steps := t.BaseSteps()
	for g := range t.groups {
		steps = append(steps, t.groupSteps(g)...)
	}
	for g := range t.replies {
		steps = append(steps, t.replySteps(t.c.ReplyQueue(g))...)
	}
	for c := range t.held {
		steps = append(steps, t.heldSteps(c)...)
	}
	if len(t.consumers) > 0 {
		steps = append(steps, t.exitSteps()...)
	}
	for name, to := range t.consumers {
		steps = append(steps, t.consumerSteps(name, to)...)
	}
	return append(steps, t.delaySteps(slices.Sorted(maps.Keys(t.delays)))...)
}
