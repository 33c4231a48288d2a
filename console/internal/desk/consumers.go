package desk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/consumers"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Consumers are all consumers that are known, and their open dead letters.
type Consumers struct {
	consumers.Seen
	// Letters are the open dead letters by consumer; nil: they could not be counted.
	Letters map[string]int
	// MoreLetters says that there are others, which were not counted.
	MoreLetters bool
}

// ActOnConsumer pauses a consumer, for a while if with says so, or has it go on, unbinds it from the
// topic with, or removes it with so many messages. An error says that nothing was sent.
func (d *Desk) ActOnConsumer(ctx context.Context, name, act, with string, who Who) (actions.Outcome, error) {
	o := consumers.Order{Name: name, Operator: who.Operator, Reason: who.Reason}
	switch act {
	case consumers.ActRemove:
		return d.removeConsumer(ctx, o, with)
	case consumers.ActUnbind:
		out := actions.Outcome{ID: name, Consumer: name, Outcome: actions.Unbound, Detail: "from " + with}
		if err := consumers.Unbind(ctx, d.c, o, with); err != nil {
			return unanswered(out, err)
		}
		return out, nil
	}
	do, out := consumers.Pause, actions.Outcome{ID: name, Consumer: name, Outcome: actions.Paused}
	if act == consumers.ActResume {
		do, out.Outcome = consumers.Resume, actions.Resumed
	} else if with != "" {
		var err error
		if o.Lasts, err = time.ParseDuration(with); err != nil {
			return actions.Outcome{}, err
		}
	}
	if err := d.canAsk(ctx, name, act); err != nil {
		return actions.Outcome{}, err
	}
	told, err := do(ctx, d.c, o)
	if err != nil {
		return unanswered(out, err)
	}
	out.Detail = strings.Join(told.Lines(d.now()), "; ")
	if told.Bad() {
		out.Remedy = "look at the consumer's page: not all of its processes have done so yet"
	}
	return out, nil
}

// removeConsumer removes a consumer with so many messages in its queues.
func (d *Desk) removeConsumer(ctx context.Context, o consumers.Order, messages string) (actions.Outcome, error) {
	purge, err := strconv.Atoi(messages)
	if err != nil {
		return actions.Outcome{}, err
	}
	out := actions.Outcome{ID: o.Name, Consumer: o.Name, Outcome: actions.Removed}
	removed, err := consumers.Remove(ctx, d.c, o, purge)
	if err != nil {
		return unanswered(out, err)
	}
	out.Detail = "with " + text.Plural(removed.Lost, "message")
	return out, nil
}

// canAsk says why an act on a consumer is not asked for: RabbitMQ is away, or there is no pause to
// end.
func (d *Desk) canAsk(ctx context.Context, name, act string) error {
	all, err := consumers.Paused(ctx, d.c, false)
	if err != nil || act != consumers.ActResume {
		return err
	}
	for _, p := range all {
		if p.Consumer == name {
			return nil
		}
	}
	return fmt.Errorf("nobody has paused consumer %s, or its pause has ended", name)
}

// unanswered is what came of an act on a consumer that ended with an error: the pause, or its
// end, may be in RabbitMQ, unless the error says that it is not.
func unanswered(out actions.Outcome, err error) (actions.Outcome, error) {
	if errors.Is(err, holdfast.ErrInvalid) || errors.Is(err, holdfast.ErrNotFound) ||
		errors.As(err, new(*consumers.UntouchedError)) {
		return actions.Outcome{}, err
	}
	out.Outcome = actions.Unknown
	out.Detail, out.Remedy = text.SplitRemedy(err)
	out.Detail = "it may have taken effect: " + out.Detail
	out.Remedy = strings.TrimPrefix(out.Remedy+"; the consumer's page says whether it is paused", "; ")
	return out, nil
}

// Consumers looks at all consumers and half queues, and counts the dead letters of each
// consumer. An error says that RabbitMQ was not reached.
func (d *Desk) Consumers(ctx context.Context) (Consumers, error) {
	var all Consumers
	var counted LetterCount
	var uncounted error
	var wg sync.WaitGroup
	wg.Go(func() {
		uncounted = guard.Call(func() (err error) {
			counted, err = d.LetterGroups(ctx, "consumer", deadletters.Filter{})
			return err
		})
	})
	seen, err := guard.Value(func() (consumers.Seen, error) { return consumers.Look(ctx, d.c) })
	wg.Wait()
	if err != nil {
		return Consumers{}, err
	}
	all.Seen = seen
	if uncounted != nil {
		all.Unknown = append(all.Unknown, "dead letters: "+text.Of(uncounted))
		return all, nil
	}
	all.Letters, all.MoreLetters = map[string]int{}, counted.More
	for _, g := range counted.Groups {
		all.Letters[g.Value] = g.Count
	}
	return all, nil
}
