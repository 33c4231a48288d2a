package worker

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/barrier"
)

const (
	sweepEvery = time.Hour
	sweepBatch = 1000
)

// sweep deletes the rows that are older than the retention, once an hour.
func (w *Worker) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		for _, db := range w.databases() {
			w.sweepOne(ctx, db, time.Now().Add(-w.o.Retention))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Worker) sweepOne(ctx context.Context, db *gorm.DB, before time.Time) {
	outcomes, err := barrier.DeleteOutcomes(ctx, db, before, sweepBatch)
	if err == nil {
		var inbox int64
		inbox, err = barrier.DeleteInbox(ctx, db, before, sweepBatch)
		outcomes += inbox
	}
	if err != nil && ctx.Err() == nil {
		w.o.Logger.Warn("deleting old rows; the next try comes in an hour", "error", err)
	}
	if outcomes > 0 {
		w.o.Logger.Info("deleted old rows", "rows", outcomes, "before", before)
	}
}
