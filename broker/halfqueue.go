package broker

import (
	"context"
	"fmt"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// FindHalfQueues returns what HalfQueues does and, behind them, the further half
// queues of the group that exist: those of processes with more of them.
func (b *Broker) FindHalfQueues(ctx context.Context, group string) ([]string, error) {
	if err := wire.ValidGroup(group); err != nil {
		return nil, err
	}
	names := b.HalfQueues(group)
	for n := len(names) + 1; n <= wire.MaxHalfQueues; n++ {
		name := wire.HalfQueue(b.o.Prefix, group, n)
		there, err := b.c.QueueExists(ctx, name)
		if err != nil {
			return names, fmt.Errorf("look for the half queues of %s: %w", group, err)
		}
		if !there {
			break
		}
		names = append(names, name)
	}
	return names, nil
}

// errQueueGone means that a half queue beyond Options.HalfQueues does not exist.
var errQueueGone = link.Final("the half queue does not exist")
