package barrier

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// defaultBatch is the number of rows that one statement of retention deletes,
// if it is given no other.
const defaultBatch = 1000

var (
	deleteOutcomes = deleteOld("holdfast_outcomes", "tx_id")
	deleteInbox    = deleteOld("holdfast_inbox", "message_id")
	deleteSteps    = deleteOld("holdfast_steps", "owner")
)

// deleteOld is a transaction of its own. It takes the oldest rows by the index on
// created_at, and skips those that another process is deleting.
//
// Age is judged by the clock that wrote created_at, the database's. Where the row's
// ID is, or ends in, a UUIDv7, the time in that is a second opinion: it is another
// clock's, and a row that is young by it stays. So rows that were written while the
// database's clock was far behind do not go as soon as it is right again. An ID from
// the future has no opinion.
func deleteOld(table, id string) string {
	return `DELETE FROM ` + table + ` WHERE ctid = ANY(ARRAY(
SELECT ctid FROM ` + table + ` WHERE created_at < now() - make_interval(secs => $1) AND NOT coalesce((
	SELECT ('x0000' || v7[1] || v7[2])::bit(64)::bigint / 1000.0
		BETWEEN extract(epoch FROM now()) - $1 AND extract(epoch FROM now()) + 86400
	FROM regexp_match(` + id + `,
		'(?:^|/)([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?:$|[./])') AS v7), false)
ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
}

// DeleteOutcomes deletes the outcome rows that are older than age, batch rows at a
// time (0 means 1000), until there are none, and returns how many it
// deleted. An outcome row must outlive its half message: a check-back that comes
// later finds no row, and answers Rollback.
func DeleteOutcomes(ctx context.Context, db *gorm.DB, age time.Duration, batch int) (int64, error) {
	return deleteBatches(ctx, db, "outcome rows", deleteOutcomes, age, batch)
}

// DeleteInbox does the same with inbox rows. A message that is delivered again
// after its inbox row was deleted takes effect again, and [Undo] does not find it.
func DeleteInbox(ctx context.Context, db *gorm.DB, age time.Duration, batch int) (int64, error) {
	return deleteBatches(ctx, db, "inbox rows", deleteInbox, age, batch)
}

// DeleteSteps does the same with step rows. A step that is run again after its
// row was deleted takes effect again.
func DeleteSteps(ctx context.Context, db *gorm.DB, age time.Duration, batch int) (int64, error) {
	return deleteBatches(ctx, db, "step rows", deleteSteps, age, batch)
}

func deleteBatches(ctx context.Context, db *gorm.DB, what, query string,
	age time.Duration, batch int) (total int64, err error) {
	if err := checkDB(db); err != nil {
		return 0, err
	}
	if batch < 0 || age < 0 {
		return 0, fmt.Errorf("%w: a batch of %d rows that are older than %v", holdfast.ErrInvalid, batch, age)
	}
	if batch == 0 {
		batch = defaultBatch
	}
	for {
		n, err := exec(ctx, db.Statement.ConnPool, query, age.Seconds(), batch)
		total += n
		if err != nil {
			return total, explain(db, "delete "+what, err)
		}
		if n < int64(batch) {
			return total, nil
		}
	}
}
