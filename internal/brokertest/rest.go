package brokertest

import (
	"context"
	"fmt"

	"github.com/holdfastmq/holdfast/broker"
)

// UnderWay says what processes hold in memory: records of half queues, and messages that are
// being handled.
func UnderWay(processes []broker.ProcessStatus) (out []string) {
	for _, p := range processes {
		for _, k := range p.Keepers {
			if k.Held > 0 {
				out = append(out, fmt.Sprintf("%s holds %d records, %d undecided", p.Instance, k.Held, k.Undecided))
			}
		}
		for _, c := range p.Consumers {
			if c.Handling > 0 {
				out = append(out, fmt.Sprintf("%s handles %d", p.Instance, c.Handling))
			}
		}
	}
	return out
}

// Left says which of the queues are not empty.
func Left(ctx context.Context, b *broker.Broker, queues ...string) (out []string, err error) {
	info, err := b.Inspect(ctx, queues...)
	for _, q := range info.Queues {
		if q.Messages > 0 {
			out = append(out, fmt.Sprintf("%d messages in %s", q.Messages, q.Name))
		}
	}
	return out, err
}
