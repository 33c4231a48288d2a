package doctor

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// lostCalm is how long a connection must have held for its losses to be over, perhaps.
const lostCalm = 2 * time.Minute

// lostRemedy is what to do about them.
const lostRemedy = "see RabbitMQ's log for its reason; what takes a connection down twice is published on one of " +
	"its own, " +
	"and is told under refused publishes; otherwise see the network, and what is between the two; " +
	"docs/runbook/refused-publish.md"

// lostConnections says which processes lose their connections to RabbitMQ again and again.
func (f *Findings) lostConnections(answers []broker.ProcessStatus, now time.Time) {
	for _, p := range answers {
		for _, l := range p.Lost {
			level, again := text.LevelProblem, "the last time "+text.Age(now.Sub(l.Last))+" ago"
			if now.Sub(l.Last) > lostCalm {
				level, again = text.LevelWarning, "not again for "+text.Age(now.Sub(l.Last))
			}
			f.add(level, "connection for "+l.Role, lostRemedy,
				"process %s loses its connection for %s again and again: at least %d times%s, %s: %s; meanwhile %s",
				text.OrDash(p.Instance), l.Role, l.Count, processes.Since(l.Since, now), again, l.Reason, losers(p, l.Role))
		}
	}
}

// losers says who waits while a process's connection is lost.
func losers(p broker.ProcessStatus, role string) string {
	var names []string
	for _, c := range p.Consumers {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if more := len(names) - namesShown; more > 0 {
		names = append(names[:namesShown:namesShown], fmt.Sprintf("%d more", more))
	}
	groups := p.Groups()
	switch {
	case role != broker.RolePublishing && len(names) > 0:
		return "consumers " + text.Join(names) + " get nothing, and get again what they had"
	case role != broker.RolePublishing:
		return "it takes nothing in"
	case len(groups) > 0 && len(names) > 0:
		return "what group " + text.Join(groups) + " sends waits, and so do the retries, replies and dead letters of " +
			text.Join(names)
	case len(groups) > 0:
		return "what group " + text.Join(groups) + " sends waits"
	case len(names) > 0:
		return "retries, replies and dead letters of " + text.Join(names) + " wait"
	}
	return "what it sends waits"
}
