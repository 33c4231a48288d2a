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
	// keepSteps is how long step rows are kept at least. A dead letter may be
	// compensated long after another one of the same message was, and is not to
	// be compensated twice. A saga's step can be undone that long after it was
	// done: later, its Undo finds nothing to undo.
	keepSteps = 366 * 24 * time.Hour
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
	var rows int64
	var err error
	for _, remove := range []func(context.Context, *gorm.DB, time.Time, int) (int64, error){
		barrier.DeleteOutcomes, barrier.DeleteInbox, deleteSteps} {
		var n int64
		n, err = remove(ctx, db, before, sweepBatch)
		rows += n
		if err != nil {
			break
		}
	}
	if err != nil && ctx.Err() == nil {
		w.o.Logger.Warn("deleting old rows; the next try comes in an hour", "error", err)
	}
	if rows > 0 {
		w.o.Logger.Info("deleted old rows", "rows", rows, "before", before)
	}
}

func deleteSteps(ctx context.Context, db *gorm.DB, before time.Time, batch int) (int64, error) {
	if latest := time.Now().Add(-keepSteps); before.After(latest) {
		before = latest
	}
	return barrier.DeleteSteps(ctx, db, before, batch)
}
