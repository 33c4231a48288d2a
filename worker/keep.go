package worker

import (
	"context"

	"github.com/holdfastmq/holdfast/broker"
)

// keep runs this process's Keepers; one is active per half queue.
func (w *Worker) keep(ctx context.Context) error {
	return w.broker.KeepGroup(ctx, broker.KeeperOptions{
		Group:      w.o.Group,
		Window:     w.o.KeeperWindow,
		CheckAfter: w.o.CheckAfter,
		HandOver:   w.handOver,
		Unable:     w.unable,
		Stats:      w.metrics.Kept,
	})
}
