package cli

import (
	"slices"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
)

// groupAnswers reports whether a process of a group is among those that answered.
func groupAnswers(answers []broker.ProcessStatus, group string) bool {
	return slices.ContainsFunc(answers, func(p broker.ProcessStatus) bool {
		return slices.ContainsFunc(p.Keepers, func(k broker.KeeperStatus) bool { return k.Group == group }) ||
			slices.ContainsFunc(p.Sagas, func(d broker.SagaDefinition) bool { return d.Group == group }) ||
			slices.ContainsFunc(p.Databases, func(d broker.DatabaseStatus) bool { return d.Group == group })
	})
}

// takes are the consumers and participants, of all that answered, that messages of a
// topic are for.
func takes(answers []broker.ProcessStatus, topic string) (of []broker.ConsumerStatus) {
	for _, p := range answers {
		for _, c := range p.Consumers {
			if (broker.Bound{Name: c.Name, Topics: c.Topics}).Matches(topic) {
				of = append(of, c)
			}
		}
	}
	return of
}

// heardOf are the consumers that some process remembers and that did not answer, by
// name.
func heardOf(answers []broker.ProcessStatus) (out []broker.Bound) {
	at := map[string]int{}
	for _, p := range answers {
		for _, c := range p.Remembers {
			if len(consumerStates(answers, c.Name)) > 0 {
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

// definitionsOf are the sagas of the processes that answered.
func definitionsOf(answers []broker.ProcessStatus) (all []broker.SagaDefinition) {
	for _, p := range answers {
		all = append(all, p.Sagas...)
	}
	return all
}

// withHeard adds the consumers that running processes have heard of, and that no
// database was asked about.
func withHeard(known []barrier.KnownConsumer, answers []broker.ProcessStatus) []barrier.KnownConsumer {
	for _, c := range heardOf(answers) {
		if !slices.ContainsFunc(known, func(k barrier.KnownConsumer) bool { return k.Name == c.Name }) {
			known = append(known, barrier.KnownConsumer{Name: c.Name, Topics: c.Topics, Seen: c.Age})
		}
	}
	return known
}
