package processes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// ConsumerStates returns how a consumer is in each process that has it: where
// one has it more than once, the worse.
func ConsumerStates(answers []broker.ProcessStatus, name string) []broker.ConsumerStatus {
	var of []broker.ConsumerStatus
	for _, p := range answers {
		var here []broker.ConsumerStatus
		for _, c := range p.Consumers {
			if c.Name == name {
				here = append(here, c)
			}
		}
		if len(here) > 0 {
			of = append(of, slices.MaxFunc(here, func(x, y broker.ConsumerStatus) int {
				return cmp.Compare(Severity(x),
					Severity(y))
			}))
		}
	}
	return of
}

// Severity orders the states of circuit breakers. What is not known counts as
// closed.
func Severity(c broker.ConsumerStatus) int {
	switch c.Breaker {
	case broker.BreakerOpen:
		return 2
	case broker.BreakerProbing:
		return 1
	}
	return 0
}

// Paused returns the names of consumers that are not asked about and whose
// circuit breaker is not closed somewhere.
func Paused(answers []broker.ProcessStatus, asked []string) []string {
	var names []string
	for _, p := range answers {
		for _, c := range p.Consumers {
			if Severity(c) > 0 && !slices.Contains(asked, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// PausedByHand is the pause by hand of a consumer, as one of its processes says; nil: none says
// so.
func PausedByHand(of []broker.ConsumerStatus) *broker.ConsumerPause {
	for _, c := range of {
		if c.Paused != nil {
			return c.Paused
		}
	}
	return nil
}

// MaySign says that what this program publishes would be refused: it signs nothing, and a process
// wants signatures. undone is what was not done.
func MaySign(ctx context.Context, b *broker.Broker, undone string) error {
	if b.Signs() {
		return nil
	}
	answers, err := b.Ask(ctx, 0)
	if err != nil {
		return fmt.Errorf("ask whether records have to be signed: %w", err)
	}
	for _, p := range answers {
		if p.Signing != nil && p.Signing.Mode == holdfast.SigningRequired {
			return text.WithRemedy(fmt.Errorf("process %s takes signed records only, and this program signs nothing",
				text.OrDash(p.Instance)), "set HOLDFAST_SIGNING_KEYRING, and repeat the command; %s", undone)
		}
	}
	return nil
}

// Unpausable says why a consumer heeds no pause by hand in its process; empty: it does.
func Unpausable(c broker.ConsumerStatus) string {
	switch {
	case c.Pausable:
		return ""
	case c.Unpausable != "":
		return c.Unpausable
	}
	return "it does not know yet what is paused, or is of a version that does not know pauses: stop it instead"
}

// Since is when something began, for a sentence; empty if that is not known.
func Since(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return fmt.Sprintf(" since %s (%s)", at.In(now.Location()).Format(text.DateTime), text.Age(now.Sub(at)))
}

// Held says what a Keeper holds.
func Held(k KeptQueue) string {
	s := fmt.Sprintf("%s holds %s, %s undecided", k.Keeper, text.Plural(k.Held, "record"),
		text.Plural(k.Undecided, "half message"))
	if k.OldestAge > 0 {
		s += ", the oldest for " + text.Age(Seconds(k.OldestAge))
	}
	return s
}
