package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
)

// consumerTimeouts finds consumers that may hold a message for longer than RabbitMQ lets
// them. managed are the queues as the management API describes them; it does not tell
// what the server's own configuration says.
func (f *findings) consumerTimeouts(answers []broker.ProcessStatus, managed []managedQueue, queueOf func(consumer string) string) {
	told := map[string]bool{}
	for _, p := range answers {
		for _, c := range p.Consumers {
			limit := broker.KnownConsumerTimeout(c.Limit)
			if i := slices.IndexFunc(managed, func(q managedQueue) bool { return q.Name == queueOf(c.Name) }); i >= 0 {
				limit = managed[i].consumerTimeout(limit)
			}
			if what, remedy := limit.HeldTooLong(c.Holds); what != "" && !told[c.Name] {
				told[c.Name] = true
				f.add(levelWarning, "consumer "+c.Name, remedy, "%s", what)
			}
		}
	}
}

// consumerTimeout is the limit that holds for a queue: its own argument's, or a policy's,
// the lesser of both, or else the server's.
func (q managedQueue) consumerTimeout(server broker.ConsumerTimeout) broker.ConsumerTimeout {
	var own []broker.ConsumerTimeout
	if ms, ok := number(q.Arguments["x-consumer-timeout"]); ok {
		own = append(own, broker.ConsumerTimeout{Limit: time.Duration(ms) * time.Millisecond, Of: "the queue's argument x-consumer-timeout"})
	}
	if ms, ok := number(q.Effective["consumer-timeout"]); ok {
		own = append(own, broker.ConsumerTimeout{Limit: time.Duration(ms) * time.Millisecond, Of: strings.TrimSpace(policyNames(q))})
	}
	if len(own) == 0 {
		return server
	}
	return slices.MinFunc(own, func(x, y broker.ConsumerTimeout) int { return int(x.Limit.Milliseconds() - y.Limit.Milliseconds()) })
}
