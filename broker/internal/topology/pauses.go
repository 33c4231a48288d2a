package topology

import (
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Pauses of consumers are kept in a stream: whoever reads it takes nothing out, so that
// each process knows all of them.
const (
	// MaxPauses is how many bytes of pauses and ends of pauses are kept at least; older ones
	// go. Whoever pauses or resumes a consumer writes those again that would go and last.
	MaxPauses = 8 << 20
	// pausesSegment is how many bytes RabbitMQ forgets at a time.
	pausesSegment = 1 << 20
	// endExpires is for how long after its time the queue of a pause's end stays.
	endExpires = 24 * time.Hour
)

// PauseSteps make what pauses of consumers need.
func (t *Maker) PauseSteps() []Step {
	name := t.c.PausesExchange()
	bound := bindStep(name, name, name)
	args := amqp.Table{"x-queue-type": "stream", "x-max-length-bytes": int64(MaxPauses),
		"x-stream-max-segment-size-bytes": int64(pausesSegment)}
	return handily(sharedBy(ExchangeStep(name, amqp.ExchangeDirect, nil), queueStep(name, args), bound)...)
}

// PauseEndSteps make the queue that keeps the end of a pause until its time, when RabbitMQ
// itself moves it into the stream. So one clock counts, and no process has to be there.
func (t *Maker) PauseEndSteps(id string, after time.Duration) []Step {
	name, args := t.c.PauseEndQueue(id), quorum()
	args["x-message-ttl"] = after.Milliseconds()
	args["x-expires"] = (after + endExpires).Milliseconds()
	args["x-dead-letter-exchange"] = t.c.PausesExchange()
	args["x-dead-letter-routing-key"] = t.c.PausesExchange()
	args["x-dead-letter-strategy"] = "at-least-once"
	args["x-overflow"] = "reject-publish"
	return Briefly(queueStep(name, args), bindStep(name, id, t.c.PausesExchange()))
}
