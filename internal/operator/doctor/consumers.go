package doctor

import (
	"strings"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// remembered looks at a consumer that the group's database remembers, and that
// nobody has named; running is how many processes answer for it.
func (f *Findings) remembered(k barrier.KnownConsumer, q broker.QueueInfo, running int) {
	check := "consumer " + k.Name
	if k.Remade > 0 && k.Remade < reach.RemadeShown {
		f.add(text.LevelWarning, check, "see docs/runbook/empty-broker.md: which messages were lost, and how to send them "+
			"again",
			"its queue was missing %s ago, and was made again: %s", text.Age(k.Remade), k.What)
	}
	topics := strings.Join(k.Topics, ", ")
	switch {
	case !q.Exists && k.Seen > broker.RememberFor:
		f.add(text.LevelWarning, check, "start it, or, if it is gone on purpose: "+f.Command("consumers forget", k.Name),
			"nobody has seen it for %s, its queue is missing and not made again: what is sent to %s does not "+
				"reach it", text.Age(k.Seen), topics)
	case !q.Exists:
		f.add(text.LevelProblem, check, "start a process of the consumer, or, if it is gone on "+
			"purpose: "+f.Command("consumers forget", k.Name),
			"its queue %s is missing: what is sent to %s does not reach it", q.Name, topics)
	case q.Consumers == 0 && running == 0 && q.Messages > 0:
		f.add(text.LevelProblem, check, "start a process of the consumer, or, if it is gone on purpose: "+
			f.Command("consumers forget", k.Name)+", then "+f.Command("consumers remove", k.Name, text.WithReason()...),
			"nobody reads %s, seen last %s ago: %s", q.Name, text.Age(k.Seen), waiting(q))
	case q.Consumers == 0 && running == 0:
		f.add(text.LevelWarning, check, "start a process of the consumer, or, if it is gone on purpose: "+
			f.Command("consumers forget", k.Name)+", then "+f.Command("consumers remove", k.Name, text.WithReason()...),
			"nobody reads %s, seen last %s ago: %s", q.Name, text.Age(k.Seen), waiting(q))
	}
}
