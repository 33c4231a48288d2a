package consumers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

const (
	// heedWithin is how long it is waited for that all processes do what was asked for, and
	// heedAsk how long for their answers each time.
	heedWithin, heedAsk = 10 * time.Second, 500 * time.Millisecond
)

// Order is what an operator asks of a consumer.
type Order struct {
	Name, Operator, Reason string
	// Lasts is how long a pause lasts; 0: until somebody resumes it.
	Lasts time.Duration
}

// Told is what came of a pause, or of its end.
type Told struct {
	Consumer string `json:"consumer"`
	// Pause is the new pause; Ended are those that ended.
	Pause *broker.ConsumerPause  `json:"pause,omitempty"`
	Ended []broker.ConsumerPause `json:"ended,omitempty"`
	// Processes are those that answered and have the consumer.
	Processes []Heeding `json:"processes"`
	// Readers are the subscriptions to the paused consumer's queue that RabbitMQ knows still: a
	// consumer that heeds its pause has none.
	Readers int `json:"readers,omitempty"`
}

// Heeding is how one process heeds what was asked for.
type Heeding struct {
	Instance string `json:"instance"`
	Heeds    bool   `json:"heeds"`
	// InWork are the messages that its handlers have in hand.
	InWork int `json:"in_work"`
	// Why says why it does not heed it, if that is known.
	Why string `json:"why,omitempty"`
}

// Bad reports whether a process does not heed it, or has messages in hand still, or somebody
// reads its queue who does not answer.
func (t Told) Bad() bool {
	return t.Readers > 0 || slices.ContainsFunc(t.Processes, func(h Heeding) bool {
		return !h.Heeds || t.Pause != nil && h.InWork > 0
	})
}

// Lines say it in words.
func (t Told) Lines(now time.Time) (lines []string) {
	if t.Pause != nil {
		lines = append(lines, "Consumer "+t.Consumer+" is paused"+until(*t.Pause, now)+".")
	} else {
		lines = append(lines, "Consumer "+t.Consumer+" goes on.")
	}
	if t.stranger() {
		lines = append(lines, fmt.Sprintf("Somebody still reads its queue (%s) who does not answer: find him in "+
			"RabbitMQ's list of connections, and stop him", text.Plural(t.Readers, "subscription")))
	} else if len(t.Processes) == 0 {
		return append(lines, "No process of it answers: those that begin later heed this.")
	}
	for _, h := range t.Processes {
		switch {
		case !h.Heeds && h.Why != "":
			lines = append(lines, "Process "+h.Instance+" does not heed it: "+h.Why)
		case !h.Heeds:
			lines = append(lines, "Process "+h.Instance+" does not heed it yet")
		case t.Pause != nil && h.InWork > 0:
			lines = append(lines, fmt.Sprintf("Process %s takes no message any more, and has %s in hand", h.Instance,
				text.Plural(h.InWork, "message")))
		case t.Pause != nil:
			lines = append(lines, "Process "+h.Instance+" takes no message")
		default:
			lines = append(lines, "Process "+h.Instance+" takes messages")
		}
	}
	return lines
}

// stranger reports whether somebody reads the paused consumer's queue although all that answer
// heed the pause.
func (t Told) stranger() bool {
	return t.Readers > 0 && !slices.ContainsFunc(t.Processes, func(h Heeding) bool { return !h.Heeds })
}

// until says when a pause ends by itself, for a sentence.
func until(p broker.ConsumerPause, now time.Time) string {
	if p.Until.IsZero() {
		return " until somebody resumes it"
	}
	return fmt.Sprintf(" until %s", p.Until.In(now.Location()).Format(text.DateTime))
}

// Pause pauses a consumer, and waits a while for its processes to heed it.
func Pause(ctx context.Context, c *reach.Config, o Order) (told Told, err error) {
	err = c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
		if err := isThere(ctx, c, b, o.Name); err != nil {
			return err
		}
		if err := processes.MaySign(ctx, b, "nothing was paused"); err != nil {
			return err
		}
		p, err := b.PauseConsumer(ctx, broker.ConsumerPause{Consumer: o.Name, By: o.Operator, Reason: o.Reason,
			Since: c.Clock()}, o.Lasts)
		if err != nil {
			return withStream(b, err)
		}
		told = Told{Consumer: o.Name, Pause: &p}
		told.Processes, told.Readers = heeded(ctx, b, told)
		return nil
	})
	return told, err
}

// Resume has a consumer go on, and waits a while for its processes to heed it.
func Resume(ctx context.Context, c *reach.Config, o Order) (told Told, err error) {
	err = c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
		if err := processes.MaySign(ctx, b, "nothing was resumed"); err != nil {
			return err
		}
		ended, err := b.ResumeConsumer(ctx, o.Name, o.Operator, o.Reason, heard(ctx, b, o.Name)...)
		if errors.Is(err, broker.ErrNotPaused) {
			return text.WithRemedy(fmt.Errorf("nobody has paused consumer %s, or its pause has ended", o.Name),
				"see %s; a circuit breaker resumes by itself", c.Suggester().Code("consumers paused", ""))
		}
		if err != nil {
			return withStream(b, err)
		}
		told = Told{Consumer: o.Name, Ended: ended}
		told.Processes, told.Readers = heeded(ctx, b, told)
		return nil
	})
	return told, err
}

// heard are the pauses of a consumer that its processes heed, as far as they answer.
func heard(ctx context.Context, b *broker.Broker, name string) (of []broker.ConsumerPause) {
	answers, _ := b.Ask(ctx, 0) // without: those that RabbitMQ has
	for _, c := range processes.ConsumerStates(answers, name) {
		if c.Paused != nil {
			of = append(of, *c.Paused)
		}
	}
	return of
}

// Paused are the pauses that last, or with past all that are kept.
func Paused(ctx context.Context, c *reach.Config, past bool) (all []broker.ConsumerPause, err error) {
	err = c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
		if all, err = b.PausedConsumers(ctx); past {
			all, err = b.PastPauses(ctx)
		}
		return withStream(b, err)
	})
	return all, err
}

// withStream adds what to do where the stream of pauses cannot be used.
func withStream(b *broker.Broker, err error) error {
	if err == nil || errors.Is(err, holdfast.ErrInvalid) {
		return err
	}
	return text.WithRemedy(err, "see that RabbitMQ has streams, and that this user has what "+
		"`holdfast topology permissions operator` prints for %s", b.PausesExchange())
}

// isThere says that nobody knows a consumer: it is misspelt, perhaps.
func isThere(ctx context.Context, c *reach.Config, b *broker.Broker, name string) error {
	if err := holdfast.ValidateName("consumer", name); err != nil {
		return err
	}
	info, err := b.Inspect(ctx, b.ConsumerQueue(name))
	if err != nil || info.Queues[0].Exists {
		return err
	}
	return text.WithRemedy(text.NoSuch("consumer", name), "its queue %s is not there: check the name and --prefix; "+
		"%s lists the consumers that run", b.ConsumerQueue(name), c.Suggester().Code("doctor", ""))
}

// heeded asks the processes until all have done what was asked for, and have nothing in hand, as
// long as that is worth it; and RabbitMQ how many read a paused consumer's queue.
func heeded(ctx context.Context, b *broker.Broker, t Told) (of []Heeding, readers int) {
	bounded, cancel := context.WithTimeout(ctx, heedWithin)
	defer cancel()
	of = heeding(nil, t)
	for {
		answers, err := b.Ask(bounded, heedAsk)
		if err == nil {
			of = heeding(answers, t)
		}
		if t.Pause != nil && err == nil {
			var info broker.Info
			if info, err = b.Inspect(bounded, b.ConsumerQueue(t.Consumer)); err == nil {
				readers = info.Queues[0].Consumers
			}
		}
		t.Processes, t.Readers = of, readers
		if err == nil && !t.Bad() || bounded.Err() != nil {
			return of, readers
		}
	}
}

// heeding is how the processes heed what was asked for; never nil, for who reads its JSON.
func heeding(answers []broker.ProcessStatus, t Told) []Heeding {
	of := []Heeding{}
	for _, p := range answers {
		for _, c := range p.Consumers {
			if c.Name != t.Consumer {
				continue
			}
			h := Heeding{Instance: text.OrDash(p.Instance), InWork: c.Handling, Heeds: c.Paused == nil}
			if t.Pause != nil {
				h.Heeds = c.Paused != nil && c.Paused.ID == t.Pause.ID
			}
			if !h.Heeds || !c.Pausable {
				h.Why = processes.Unpausable(c)
			}
			of = append(of, h)
		}
	}
	return of
}

// What can be done with a consumer.
const (
	ActPause  = "pause"
	ActResume = "resume"
	ActRemove = "remove"
	ActUnbind = "unbind"
)

// Durations are those that a pause is offered for; the empty one has no end.
var Durations = []string{"", "1h", "24h"}

// Effects say what an act on a consumer does, in sentences. lasts is a pause's duration.
func (c Consumer) Effects(act, lasts string) (out []string) {
	switch act {
	case ActRemove:
		return c.removing()
	case ActUnbind:
		return []string{"Messages of " + lasts + " do not reach it any more. Those that are in its queue stay.",
			"A process that listens to " + lasts + " binds its queue again: while one runs, nothing is done."}
	}
	if act == ActResume {
		return []string{"Its processes take messages again, those that wait first.",
			"It is " + strings.TrimPrefix(c.Pause.String(), "paused by hand ") + "."}
	}
	out = append(out, "All its processes, and those that begin later, take no message. What their handlers have in hand "+
		"ends.", "Messages wait in its queue meanwhile; one whose time to live ends there becomes a dead letter.")
	if len(c.Processes) > 0 && slices.ContainsFunc(c.Processes, func(p Process) bool { return p.Participant }) {
		out = append(out, "Sagas that call it wait; their time limits go on.")
	}
	if lasts != "" {
		return append(out, "It goes on by itself after "+lasts+", by RabbitMQ's clock.")
	}
	return append(out, "It stays so until somebody resumes it, whatever is restarted.")
}

// removing says what its removal would do.
func (c Consumer) removing() []string {
	out := []string{"Its queues are deleted, and what they are bound to. While a process has it, or remembers it and " +
		"would make them again, nothing is done."}
	if n := c.Waiting(); n > 0 {
		out = append(out, fmt.Sprintf("%s in its queues: lost for good, and no dead letters. If there are more or fewer by "+
			"then, nothing is done.", text.Plural(n, "message")))
	} else {
		out = append(out, "No message is in its queues. If one is by then, nothing is done.")
	}
	if c.Ladder.Count > 0 {
		out = append(out, "Messages of it that wait for a retry become dead letters.")
	}
	if c.Remembered {
		out = append(out, "It is remembered: `holdfast consumers forget` comes first, in the database of each group.")
	}
	return out
}
