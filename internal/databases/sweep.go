package databases

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/barrier"
)

const (
	sweepBatch = 1000
	// keepSteps is how long step rows are kept at least. A dead letter may be
	// compensated long after another one of the same message was, and is not to
	// be compensated twice. A saga's step can be undone that long after it was
	// done: later, its Undo finds nothing to undo.
	keepSteps = 366 * 24 * time.Hour
)

// Sweep deletes the rows that are older than the retention, once an hour, where no
// clock is in doubt. This process's clock has no say in how old a row is.
func (s *Set) Sweep(ctx context.Context) error {
	tick := time.NewTicker(s.ClockEvery)
	defer tick.Stop()
	for {
		for _, db := range s.all {
			if age, due := s.watchClock(ctx, db); due {
				s.sweepOne(ctx, db, age)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Set) sweepOne(ctx context.Context, db *gorm.DB, age time.Duration) {
	var rows int64
	var err error
	removals := []func(context.Context, *gorm.DB, time.Duration, int) (int64, error){barrier.DeleteInbox, deleteSteps}
	if !s.o.OutcomesNeeded(ctx) {
		removals = append(removals, barrier.DeleteOutcomes)
	}
	for _, remove := range removals {
		var n int64
		n, err = remove(ctx, db, age, sweepBatch)
		rows += n
		if err != nil {
			break
		}
	}
	if err != nil && ctx.Err() == nil {
		s.o.Logger.Warn("deleting old rows; the next try comes in an hour", "error", err)
	}
	if rows > 0 {
		s.o.Logger.Debug("deleted old rows", "rows", rows, "older than", age)
	}
}

func deleteSteps(ctx context.Context, db *gorm.DB, age time.Duration, batch int) (int64, error) {
	return barrier.DeleteSteps(ctx, db, max(age, keepSteps), batch)
}
