// Package processes reads what the processes of an installation answer, and what RabbitMQ
// says of their queues: who keeps a half queue, who takes a topic, which breaker is open,
// which policies a queue has. Most of it is pure. The doctor, the list of what waits and the
// commands on half queues use it.
package processes

import (
	"slices"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
)

// GroupAnswers reports whether a process that does a group's work is among those that
// answered.
func GroupAnswers(answers []broker.ProcessStatus, group string) bool {
	return slices.ContainsFunc(answers, func(p broker.ProcessStatus) bool {
		return p.SendsFor != group && p.HasGroup(group)
	})
}

// Takes are the consumers and participants, of all that answered, that messages of a
// topic are for.
func Takes(answers []broker.ProcessStatus, topic string) (of []broker.ConsumerStatus) {
	for _, p := range answers {
		for _, c := range p.Consumers {
			if (broker.Bound{Name: c.Name, Topics: c.Topics}).Matches(topic) {
				of = append(of, c)
			}
		}
	}
	return of
}

// HeardOf are the consumers that some process remembers and that did not answer, by
// name.
func HeardOf(answers []broker.ProcessStatus) (out []broker.Bound) {
	at := map[string]int{}
	for _, p := range answers {
		for _, c := range p.Remembers {
			if len(ConsumerStates(answers, c.Name)) > 0 {
				continue
			}
			i, known := at[c.Name]
			if !known {
				i = len(out)
				at[c.Name] = i
				out = append(out, c)
			}
			out[i].Age = min(out[i].Age, c.Age)
		}
	}
	return out
}

// DefinitionsOf are the sagas of the processes that answered.
func DefinitionsOf(answers []broker.ProcessStatus) (all []broker.SagaDefinition) {
	for _, p := range answers {
		all = append(all, p.Sagas...)
	}
	return all
}

// WithHeard adds the consumers that running processes have heard of, and that no
// database was asked about.
func WithHeard(known []barrier.KnownConsumer, answers []broker.ProcessStatus) []barrier.KnownConsumer {
	for _, c := range HeardOf(answers) {
		if !slices.ContainsFunc(known, func(k barrier.KnownConsumer) bool { return k.Name == c.Name }) {
			known = append(known, barrier.KnownConsumer{Name: c.Name, Topics: c.Topics, Seen: c.Age})
		}
	}
	return known
}
