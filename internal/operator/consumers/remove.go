package consumers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Removed is what a removal did.
type Removed struct {
	Consumer string `json:"consumer"`
	// Lost are the messages that were in its queues.
	Lost int `json:"lost"`
}

// removing says in a pause's reason that it is for a removal.
const removing = "being removed: "

// Remove deletes the queues of a consumer that nobody runs. With messages in them it does so
// only if purge is how many there are. It is refused while a process consumes it, or
// remembers it: that one would make the queues again.
//
// The consumer is paused meanwhile, by whom and why is kept with that pause: so no process that
// begins just now takes messages. If this process dies in between, it stays paused; remove it again.
func Remove(ctx context.Context, c *reach.Config, o Order, purge int) (r Removed, err error) {
	r.Consumer = o.Name
	err = c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
		if err := isThere(ctx, c, b, o.Name); err != nil {
			return err
		}
		if err := removable(ctx, c, b, o.Name, purge); err != nil {
			return err
		}
		_, err := b.PauseConsumer(ctx, broker.ConsumerPause{Consumer: o.Name, By: o.Operator, Reason: removing + o.Reason,
			Since: c.Clock()}, 0)
		if err != nil {
			return withStream(b, err)
		}
		err = removable(ctx, c, b, o.Name, purge)
		said := "it was not removed"
		if err == nil {
			r.Lost, err = b.RemoveConsumer(ctx, o.Name)
			if said = fmt.Sprintf("removed, with %s", text.Plural(r.Lost, "message")); err != nil {
				said = "it was not removed wholly: " + text.Of(err)
			}
		}
		_, over := b.ResumeConsumer(ctx, o.Name, o.Operator, said)
		return errors.Join(err, over)
	})
	return r, err
}

// removable says why a consumer is not to be removed now.
func removable(ctx context.Context, c *reach.Config, b *broker.Broker, name string, purge int) error {
	answers, err := b.Ask(ctx, 0)
	if err != nil {
		return err
	}
	if n := len(processes.ConsumerStates(answers, name)); n > 0 {
		return text.WithRemedy(fmt.Errorf("consumer %s runs in %s", name, text.ProcessCount(n)),
			"stop its processes first; `holdfast consumers pause` has them take no message")
	}
	var remember []string
	for _, p := range answers {
		if slices.ContainsFunc(p.Remembers, func(k broker.Bound) bool { return k.Name == name }) {
			remember = append(remember, text.OrDash(p.Instance))
		}
	}
	if len(remember) > 0 {
		return text.WithRemedy(fmt.Errorf("%s would make the queues of %s again: they remember it", text.Few(remember), name),
			"run %s in the database of each group, and try again some minutes later; a process without a database "+
				"forgets it when it is started anew",
			c.Suggester().Code("consumers forget", name))
	}
	info, err := b.Inspect(ctx, b.ConsumerQueue(name), b.AloneQueue(name), b.HeldQueue(name))
	if err != nil {
		return err
	}
	waiting := 0
	for _, q := range info.Queues {
		if waiting += q.Messages; q.Consumers > 0 {
			return text.WithRemedy(fmt.Errorf("somebody reads %s, but no process with consumer %s answers", q.Name, name),
				"find out who it is, in RabbitMQ's list of connections")
		}
	}
	if waiting != max(purge, 0) {
		return text.WithRemedy(fmt.Errorf("%s in the queues of %s, which would be lost", text.Plural(waiting, "message"),
			name), "start a process of it that handles them, or, to lose them, add --purge %d", waiting)
	}
	return nil
}

// Unbind removes a binding of a consumer's queue to a topic, unless a process that runs wants it.
func Unbind(ctx context.Context, c *reach.Config, name, topic string) error {
	return c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
		if err := isThere(ctx, c, b, name); err != nil {
			return err
		}
		answers, err := b.Ask(ctx, 0)
		if err != nil {
			return err
		}
		for _, s := range processes.ConsumerStates(answers, name) {
			if slices.Contains(s.Topics, topic) {
				return text.WithRemedy(fmt.Errorf("a process of consumer %s that runs listens to %s, and binds it again", name,
					topic), "deploy a version that does not listen to it first; it listens to %s", strings.Join(s.Topics, ", "))
			}
		}
		return b.Unbind(ctx, name, topic)
	})
}
