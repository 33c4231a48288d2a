package cli

import (
	"strings"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
)

// remembered looks at a consumer that the group's database remembers, and that
// nobody has named; running is how many processes answer for it.
func (f *findings) remembered(k barrier.KnownConsumer, q broker.QueueInfo, running int) {
	check := "consumer " + k.Name
	if k.Remade > 0 && k.Remade < remadeShown {
		f.add(levelWarning, check, "see docs/runbook/empty-broker.md: which messages were lost, and how to send them again",
			"its queue was missing %s ago, and was made again: %s", age(k.Remade), k.What)
	}
	topics := strings.Join(k.Topics, ", ")
	switch {
	case !q.Exists && k.Seen > broker.RememberFor:
		f.add(levelWarning, check, "start it, or, if it is gone on purpose: "+f.command("consumers forget", k.Name),
			"nobody has seen it for %s, its queue is missing and not made again: what is sent to %s does not reach it", age(k.Seen), topics)
	case !q.Exists:
		f.add(levelProblem, check, "start a process of the consumer, or, if it is gone on purpose: "+f.command("consumers forget", k.Name),
			"its queue %s is missing: what is sent to %s does not reach it", q.Name, topics)
	case q.Consumers == 0 && running == 0 && q.Messages > 0:
		f.add(levelProblem, check, "start a process of the consumer, or, if it is gone on purpose, delete its queue and: "+f.command("consumers forget", k.Name),
			"nobody reads %s, seen last %s ago: %s", q.Name, age(k.Seen), waiting(q))
	case q.Consumers == 0 && running == 0:
		f.add(levelWarning, check, "start a process of the consumer, or, if it is gone on purpose, delete its queue and: "+f.command("consumers forget", k.Name),
			"nobody reads %s, seen last %s ago: %s", q.Name, age(k.Seen), waiting(q))
	}
}
