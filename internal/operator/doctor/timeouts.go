package doctor

import (
	"slices"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// consumerTimeouts finds consumers that may hold a message for longer than RabbitMQ lets
// them. managed are the queues as the management API describes them; it does not tell
// what the server's own configuration says.
func (f *Findings) consumerTimeouts(answers []broker.ProcessStatus, managed []processes.ManagedQueue,
	queueOf func(consumer string) string) {
	told := map[string]bool{}
	for _, p := range answers {
		for _, c := range p.Consumers {
			limit := broker.KnownConsumerTimeout(c.Limit)
			if i := slices.IndexFunc(managed, func(q processes.ManagedQueue) bool { return q.Name == queueOf(c.Name) }); i >= 0 {
				limit = managed[i].ConsumerTimeout(limit)
			}
			if what, remedy := limit.HeldTooLong(c.Holds); what != "" && !told[c.Name] {
				told[c.Name] = true
				f.add(text.LevelWarning, "consumer "+c.Name, remedy, "%s", what)
			}
		}
	}
}
