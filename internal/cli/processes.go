package cli

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/broker"
)

// consumerStates returns how a consumer is in each process that has it: where
// one has it more than once, the worse.
func consumerStates(answers []broker.ProcessStatus, name string) []broker.ConsumerStatus {
	var of []broker.ConsumerStatus
	for _, p := range answers {
		var here []broker.ConsumerStatus
		for _, c := range p.Consumers {
			if c.Name == name {
				here = append(here, c)
			}
		}
		if len(here) > 0 {
			of = append(of, slices.MaxFunc(here, func(x, y broker.ConsumerStatus) int { return cmp.Compare(severity(x), severity(y)) }))
		}
	}
	return of
}

// severity orders the states of circuit breakers. What is not known counts as
// closed.
func severity(c broker.ConsumerStatus) int {
	switch c.Breaker {
	case broker.BreakerOpen:
		return 2
	case broker.BreakerProbing:
		return 1
	}
	return 0
}

// paused returns the names of consumers that are not asked about and whose
// circuit breaker is not closed somewhere.
func paused(answers []broker.ProcessStatus, asked []string) []string {
	var names []string
	for _, p := range answers {
		for _, c := range p.Consumers {
			if severity(c) > 0 && !slices.Contains(asked, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// since is when something began, for a sentence; empty if that is not known.
func since(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return fmt.Sprintf(" since %s (%s)", at.In(now.Location()).Format(dateTime), age(now.Sub(at)))
}

func held(k keptQueue) string {
	s := fmt.Sprintf("%s holds %s, %s undecided", k.Keeper, plural(k.Held, "record"), plural(k.Undecided, "half message"))
	if k.OldestAge > 0 {
		s += ", the oldest for " + age(seconds(k.OldestAge))
	}
	return s
}
