package consumers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

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

// UntouchedError says why nothing was done.
type UntouchedError struct{ Err error }

// Error implements error.
func (e *UntouchedError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *UntouchedError) Unwrap() error { return e.Err }

// untouched marks an error by which nothing was done.
func untouched(err error) error {
	if err == nil {
		return nil
	}
	return &UntouchedError{err}
}

// removing says in a pause's reason that it is for a removal.
const removing = "being removed: "

// Remove deletes the queues of a consumer that nobody runs. With messages in them it does so
// only if purge is how many there are. It is refused while a process consumes it, or
// remembers it: that one would make the queues again.
//
// The consumer is paused meanwhile, by whom and why is kept with that pause: so no process that
// begins just now takes messages. Other pauses of it last on. If this process dies in between, it
// stays paused, perhaps without its bindings; remove it again.
func Remove(ctx context.Context, c *reach.Config, o Order, purge int) (r Removed, err error) {
	r.Consumer = o.Name
	err = c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
		if err := isThere(ctx, c, b, o.Name); err != nil {
			return untouched(err)
		}
		if err := removable(ctx, c, b, o.Name, purge); err != nil {
			return untouched(err)
		}
		if err := processes.MaySign(ctx, b, "nothing was removed"); err != nil {
			return untouched(err)
		}
		p, err := b.PauseBeside(ctx, broker.ConsumerPause{Consumer: o.Name, By: o.Operator, Reason: removing + o.Reason,
			Since: c.Clock()})
		if err != nil {
			return withStream(b, err)
		}
		said, err := r.remove(ctx, c, b, purge)
		return errors.Join(err, withStream(b, b.EndPause(ctx, p, o.Operator, said)))
	})
	return r, err
}

// remove does it, and says what came of it. First nothing more comes into the queue, as far as its
// bindings are known; then the messages in it are counted again.
func (r *Removed) remove(ctx context.Context, c *reach.Config, b *broker.Broker, purge int) (said string, err error) {
	said = "it was not removed"
	if err := removable(ctx, c, b, r.Consumer, purge); err != nil {
		return said, err
	}
	if err := detach(ctx, c, b, r.Consumer); err != nil {
		return said + ", but lost bindings", fmt.Errorf("remove the bindings of %s: %w", r.Consumer, err)
	}
	if err := removable(ctx, c, b, r.Consumer, purge); err != nil {
		return said + ", but has no bindings any more", text.WithRemedy(fmt.Errorf("%w (its queue is bound to no topic "+
			"any more)", err), "remove it again, or start a process of it, which binds the queue again")
	}
	r.Lost, err = b.RemoveConsumer(ctx, r.Consumer)
	said = fmt.Sprintf("removed, with %s", text.Plural(r.Lost, "message"))
	if err != nil {
		said = "it was not removed wholly: " + text.Of(err)
	}
	return said, err
}

// detach removes the bindings of a consumer's queue through which messages come: those that
// RabbitMQ's management API lists, or, where it is not reached, those that the database knows.
func detach(ctx context.Context, c *reach.Config, b *broker.Broker, name string) error {
	bindings, err := managed(ctx, c)
	if err != nil {
		for _, k := range c.KnownConsumers(ctx, nil) {
			for _, topic := range k.Topics {
				if k.Name == name {
					bindings = append(bindings, processes.Binding{Source: b.TopicsExchange(), Destination: b.ConsumerQueue(name),
						Key: topic})
				}
			}
		}
	}
	for _, of := range bindings {
		unbind := b.Unbind
		switch {
		case of.Destination != b.ConsumerQueue(name):
			continue
		case of.Source == b.NoticesExchange():
			unbind = b.UnbindNotices
		case of.Source != b.TopicsExchange():
			continue
		}
		if err := unbind(ctx, name, of.Key); err != nil {
			return err
		}
	}
	return nil
}

// managed are the bindings that RabbitMQ's management API lists.
func managed(ctx context.Context, c *reach.Config) ([]processes.Binding, error) {
	m, err := processes.NewManagement(c.AMQPURL, c.TLS(), c.Management)
	if err != nil {
		return nil, err
	}
	return m.Bindings(ctx, c.Prefix)
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
	if remember := remembering(answers, name, ""); len(remember) > 0 {
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

// remembering are the processes that remember a consumer, and that it listens to topic, if that is
// not empty: they make again what is missing of it.
func remembering(answers []broker.ProcessStatus, name, topic string) (who []string) {
	for _, p := range answers {
		if slices.ContainsFunc(p.Remembers, func(k broker.Bound) bool {
			return k.Name == name && (topic == "" || slices.Contains(k.Topics, topic))
		}) {
			who = append(who, text.OrDash(p.Instance))
		}
	}
	return who
}

// unbinding says in a pause's reason that it is for the end of a binding.
const unbinding = "unbinding from "

// Unbind removes a binding of a consumer's queue to a topic, unless a process that runs wants it.
//
// Who did it and why is kept with the pauses, as one that was over before it began: nobody heeds
// it. It is written first, and nothing is done without it.
func Unbind(ctx context.Context, c *reach.Config, o Order, topic string) error {
	return c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
		if err := isThere(ctx, c, b, o.Name); err != nil {
			return untouched(err)
		}
		answers, err := b.Ask(ctx, 0)
		if err != nil {
			return untouched(err)
		}
		for _, s := range processes.ConsumerStates(answers, o.Name) {
			if slices.Contains(s.Topics, topic) {
				return untouched(text.WithRemedy(fmt.Errorf("a process of consumer %s that runs listens to %s, and binds it again",
					o.Name, topic), "deploy a version that does not listen to it first; it listens to %s",
					strings.Join(s.Topics, ", ")))
			}
		}
		if by := remembering(answers, o.Name, topic); len(by) > 0 {
			return untouched(text.WithRemedy(fmt.Errorf("%s would bind %s to %s again: they remember it", text.Few(by), o.Name,
				topic), "start a process of %s that does not listen to it: they learn that within minutes; or, if it is gone on "+
				"purpose, %s in the database of each group", o.Name, c.Suggester().Code("consumers forget", o.Name)))
		}
		if err := processes.MaySign(ctx, b, "nothing was unbound"); err != nil {
			return untouched(err)
		}
		over := broker.ConsumerPause{ID: uuid.NewString(), Consumer: o.Name, By: o.Operator,
			Reason: unbinding + topic + ": " + o.Reason, Since: c.Clock()}
		if err := b.EndPause(ctx, over, o.Operator, "it was no pause"); err != nil {
			return untouched(withStream(b, err))
		}
		return b.Unbind(ctx, o.Name, topic)
	})
}
