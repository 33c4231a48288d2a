package barrier

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// DefaultBatch is the number of rows that one statement of retention deletes,
// if it is given no other.
const DefaultBatch = 1000

// Each statement is a transaction of its own, takes the oldest rows by the
// index on created_at, and skips those that another process is deleting.
const (
	deleteOutcomes = `DELETE FROM holdfast_outcomes WHERE ctid = ANY(ARRAY(
SELECT ctid FROM holdfast_outcomes WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
	deleteInbox = `DELETE FROM holdfast_inbox WHERE ctid = ANY(ARRAY(
SELECT ctid FROM holdfast_inbox WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
	deleteSteps = `DELETE FROM holdfast_steps WHERE ctid = ANY(ARRAY(
SELECT ctid FROM holdfast_steps WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
)

// DeleteOutcomes deletes the outcome rows created before olderThan, batch rows
// at a time (0 means [DefaultBatch]), until there are none, and returns how
// many it deleted. An outcome row must outlive its half message: a check-back
// that comes later finds no row, and answers Rollback.
func DeleteOutcomes(ctx context.Context, db *gorm.DB, olderThan time.Time, batch int) (int64, error) {
	return deleteBatches(ctx, db, "outcome rows", deleteOutcomes, olderThan, batch)
}

// DeleteInbox does the same with inbox rows. A message that is delivered again
// after its inbox row was deleted takes effect again, and [Undo] does not find it.
func DeleteInbox(ctx context.Context, db *gorm.DB, olderThan time.Time, batch int) (int64, error) {
	return deleteBatches(ctx, db, "inbox rows", deleteInbox, olderThan, batch)
}

// DeleteSteps does the same with step rows. A step that is run again after its
// row was deleted takes effect again.
func DeleteSteps(ctx context.Context, db *gorm.DB, olderThan time.Time, batch int) (int64, error) {
	return deleteBatches(ctx, db, "step rows", deleteSteps, olderThan, batch)
}

func deleteBatches(ctx context.Context, db *gorm.DB, what, query string, olderThan time.Time, batch int) (total int64, err error) {
	if err := checkDB(db); err != nil {
		return 0, err
	}
	if batch < 0 {
		return 0, fmt.Errorf("%w: a batch of %d rows", holdfast.ErrInvalid, batch)
	}
	if batch == 0 {
		batch = DefaultBatch
	}
	for {
		n, err := exec(ctx, db.Statement.ConnPool, query, olderThan, batch)
		total += n
		if err != nil {
			return total, explain(db, "delete "+what, err)
		}
		if n < int64(batch) {
			return total, nil
		}
	}
}
