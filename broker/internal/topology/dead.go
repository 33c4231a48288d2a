package topology

import (
	"context"
	"errors"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Postponed is how long a record waits that was put off.
const Postponed = 10 * time.Second

// protected is a queue from which what RabbitMQ takes out goes to the queue of
// expired ones.
func (t *Maker) protected() amqp.Table {
	args := quorum()
	args["x-dead-letter-exchange"] = t.c.ExpiredQueue()
	args["x-dead-letter-strategy"] = "at-least-once"
	args["x-overflow"] = "reject-publish"
	return args
}

// protectedStep declares a queue as protected, unless an older version of Holdfast
// has made it without that, or must be able to declare it: queues cannot be changed.
func (t *Maker) protectedStep(name string) Step {
	as := map[bool]Step{false: queueStep(name, t.protected()), true: queueStep(name, quorum())}
	like := as[false]
	made := Step{What: like.What, Of: name, object: like.object, There: like.There}
	made.Do = func(ch *amqp.Channel, _ bool) error {
		t.mu.Lock()
		found, known := t.unprotected[name]
		t.mu.Unlock()
		if !known {
			found = t.c.Rolling
		}
		err := as[found].Do(ch, false)
		var ae *amqp.Error
		if known || !errors.As(err, &ae) || ae.Code != amqp.PreconditionFailed {
			return err
		}
		t.mu.Lock()
		t.unprotected[name] = !found
		t.mu.Unlock()
		return errAgain // the channel is closed
	}
	return made
}

// errAgain says that a step is to be carried out once more, on another channel.
var errAgain = errors.New("holdfast: once more")

// deadSteps make the queue of dead letters and what belongs to it.
func (t *Maker) deadSteps() []Step {
	dead, expired := t.c.DeadQueue(), t.c.ExpiredQueue()
	return []Step{
		queueStep(expired, quorum()), ExchangeStep(expired, amqp.ExchangeFanout, nil), bindStep(expired, "", expired),
		t.protectedStep(dead), ExchangeStep(dead, amqp.ExchangeFanout, nil), bindStep(dead, "", dead),
		t.protectedStep(t.c.OversizedQueue()), bindStep(t.c.OversizedQueue(), t.c.OversizedQueue(),
			t.c.QueuesExchange()),
	}
}

// UnprotectedQueues are those of the queues of dead letters that an older version of
// Holdfast has made, so that what a policy takes out of them is lost.
func (t *Maker) UnprotectedQueues(ctx context.Context) ([]string, error) {
	ctx, cancel := t.c.Timeout(ctx)
	defer cancel()
	conn, err := t.c.Consuming.Get(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range []string{t.c.DeadQueue(), t.c.OversizedQueue()} {
		there, err := t.c.Calls.Exists(ctx, conn, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			return err
		})
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		err = t.c.Calls.OnChannel(ctx, conn,
			func(ch *amqp.Channel) error { return queueStep(name, t.protected()).Do(ch, false) })
		var ae *amqp.Error
		switch {
		case errors.As(err, &ae) && ae.Code == amqp.PreconditionFailed:
			out = append(out, name)
		case err != nil:
			return out, err
		}
	}
	return out, nil
}
