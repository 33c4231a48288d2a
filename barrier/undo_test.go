package barrier_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
)

func consumeOrder(t *testing.T, db *gorm.DB, id string) bool {
	t.Helper()
	repeated, err := barrier.Consume(t.Context(), db, "billing", id, func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, id) })
	require.NoError(t, err)
	return repeated
}

func undoing(id string) func(context.Context, *gorm.DB) error {
	return func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, id+" undone") }
}

func undo(t *testing.T, db *gorm.DB, id string) barrier.UndoResult {
	t.Helper()
	result, err := barrier.Undo(t.Context(), db, "billing", id, id+".notice", undoing(id))
	require.NoError(t, err)
	return result
}

func TestUndoWhatWasProcessed(t *testing.T) {
	db, _ := migrated(t)
	var points []string
	require.False(t, consumeOrder(t, db, "m1"))
	fault.Set(func(name string) { points = append(points, name) })
	defer fault.Set(nil)
	require.Equal(t, barrier.Undone, undo(t, db, "m1"))
	require.Equal(t, []string{fault.ConsumeAfterCommit}, points)
	require.Equal(t, barrier.Repeated, undo(t, db, "m1"))
	require.Len(t, points, 1)
	require.True(t, consumeOrder(t, db, "m1"), "a late repetition of the message")
	require.Equal(t, 1, orders(t, db, "m1"))
	require.Equal(t, 1, orders(t, db, "m1 undone"))
}

func TestUndoBlocksWhatWasNotProcessed(t *testing.T) {
	db, _ := migrated(t)
	require.Equal(t, barrier.Blocked, undo(t, db, "m1"))
	require.Equal(t, barrier.Repeated, undo(t, db, "m1"))
	require.True(t, consumeOrder(t, db, "m1"), "the late message")
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		first, err := barrier.Once(t.Context(), tx, "billing", "m1")
		require.False(t, first)
		return err
	}))
	require.Zero(t, orders(t, db, "m1"))
	require.Zero(t, orders(t, db, "m1 undone"))
	// Another consumer is not concerned.
	_, err := barrier.Consume(t.Context(), db, "shipping", "m1", func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, "m1") })
	require.NoError(t, err)
	result, err := barrier.Undo(t.Context(), db, "shipping", "m1", "m1.notice", undoing("m1"))
	require.NoError(t, err)
	require.Equal(t, barrier.Undone, result)
	require.Equal(t, 1, orders(t, db, "m1"))
	require.Equal(t, 1, orders(t, db, "m1 undone"))
}

// A handler that has the message in work is waited for, then followed.
func TestUndoWaitsForTheHandler(t *testing.T) {
	for name, end := range map[string]error{"commit": nil, "rollback": errBoom} {
		t.Run(name, func(t *testing.T) {
			db, _ := migrated(t)
			entered, release := make(chan struct{}), make(chan struct{})
			handled, undone := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := barrier.Consume(t.Context(), db, "billing", "m1", func(_ context.Context, tx *gorm.DB) error {
					close(entered)
					<-release
					if err := placeOrder(tx, "m1"); err != nil {
						return err
					}
					return end
				})
				handled <- err
			}()
			<-entered
			var result barrier.UndoResult
			seen := 0
			go func() {
				var err error
				result, err = barrier.Undo(t.Context(), db, "billing", "m1", "m1.notice", func(ctx context.Context, tx *gorm.DB) error {
					if err := tx.Raw("SELECT count(*) FROM orders WHERE id = 'm1'").Scan(&seen).Error; err != nil {
						return err
					}
					return undoing("m1")(ctx, tx)
				})
				undone <- err
			}()
			untilBlocked(t, db, 1)
			close(release)
			require.ErrorIs(t, <-handled, end)
			require.NoError(t, <-undone)
			if end == nil {
				require.Equal(t, barrier.Undone, result)
				require.Equal(t, 1, seen, "the undo sees what the handler wrote")
				require.Equal(t, 1, orders(t, db, "m1 undone"))
				return
			}
			require.Equal(t, barrier.Blocked, result)
			require.True(t, consumeOrder(t, db, "m1"))
			require.Zero(t, orders(t, db, "m1"))
			require.Zero(t, orders(t, db, "m1 undone"))
		})
	}
}

// The other way round: a delivery that comes while the undo is in work waits,
// and has no effect unless the undo fails.
func TestConsumeWaitsForTheUndo(t *testing.T) {
	for name, commits := range map[string]bool{"commit": true, "rollback": false} {
		t.Run(name, func(t *testing.T) {
			direct, url := migrated(t)
			via, p := proxy(t, url)
			p.set(holdCommit)
			undoDB := open(t, via, nil)
			undone, consumed := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := barrier.Undo(t.Context(), undoDB, "billing", "m1", "m1.notice", undoing("m1"))
				undone <- err
			}()
			select {
			case <-p.stalled: // both rows are inserted
			case err := <-undone:
				t.Fatal("no COMMIT was sent", err)
			}
			repeated := false
			go func() {
				var err error
				repeated, err = barrier.Consume(t.Context(), direct, "billing", "m1", func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, "m1") })
				consumed <- err
			}()
			untilBlocked(t, direct, 1)
			if commits {
				p.release()
				require.NoError(t, <-undone)
			} else {
				p.closeAll()
				require.Error(t, <-undone)
			}
			require.NoError(t, <-consumed)
			require.Equal(t, commits, repeated)
			require.Equal(t, !commits, orders(t, direct, "m1") == 1)
		})
	}
}

// Deliveries of the message and of the notice in any order, many at once: in the
// end the message was never in effect, or was and is undone, each once.
func TestUndoAgainstConsumeConcurrently(t *testing.T) {
	db, _ := migrated(t)
	for _, id := range []string{"m1", "m2", "m3", "m4", "m5"} {
		var wg sync.WaitGroup
		var acted, processed atomic.Int32
		for range 8 {
			wg.Go(func() {
				repeated, err := barrier.Consume(t.Context(), db, "billing", id, func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, id) })
				assert.NoError(t, err)
				if !repeated {
					processed.Add(1)
				}
			})
			wg.Go(func() {
				result, err := barrier.Undo(t.Context(), db, "billing", id, id+".notice", undoing(id))
				assert.NoError(t, err)
				if result != barrier.Repeated {
					acted.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, acted.Load(), "one notice counts")
		require.EqualValues(t, processed.Load(), orders(t, db, id))
		require.Equal(t, orders(t, db, id), orders(t, db, id+" undone"), "undone exactly if it was done")
	}
}

// Under a stricter isolation level who waited gets an error, and finds out when
// it is delivered again.
func TestUndoUnderRepeatableRead(t *testing.T) {
	db, url := migrated(t)
	require.NoError(t, db.Exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$").Error)
	db = open(t, url, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	handled, undone := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := barrier.Consume(t.Context(), db, "billing", "m1", func(_ context.Context, tx *gorm.DB) error {
			close(entered)
			<-release
			return placeOrder(tx, "m1")
		})
		handled <- err
	}()
	<-entered
	go func() {
		_, err := barrier.Undo(t.Context(), db, "billing", "m1", "m1.notice", undoing("m1"))
		undone <- err
	}()
	untilBlocked(t, db, 1)
	close(release)
	require.NoError(t, <-handled)
	require.ErrorContains(t, <-undone, "SQLSTATE 40001")
	require.Equal(t, barrier.Undone, undo(t, db, "m1"))
	require.Equal(t, 1, orders(t, db, "m1 undone"))
}

func TestUndoFails(t *testing.T) {
	db, _ := migrated(t)
	consumeOrder(t, db, "m1")
	fails := func(after func(tx *gorm.DB) error) error {
		result, err := barrier.Undo(t.Context(), db, "billing", "m1", "m1.notice", func(ctx context.Context, tx *gorm.DB) error {
			if err := undoing("m1")(ctx, tx); err != nil {
				return err
			}
			return after(tx)
		})
		require.Empty(t, result)
		return err
	}
	require.ErrorIs(t, fails(func(*gorm.DB) error { return errBoom }), errBoom)
	var p *holdfast.PanicError
	require.ErrorAs(t, fails(func(*gorm.DB) error { panic("boom") }), &p)
	require.Error(t, fails(func(tx *gorm.DB) error { tx.Exec("nonsense"); return nil }))
	require.ErrorContains(t, fails(func(tx *gorm.DB) error { return tx.Rollback().Error }), "leave COMMIT and ROLLBACK to Holdfast")
	require.Zero(t, orders(t, db, "m1 undone"))
	require.Equal(t, barrier.Undone, undo(t, db, "m1"), "a failed undo is run again")
	require.Equal(t, 1, orders(t, db, "m1 undone"))

	for name, ids := range map[string][3]string{
		"no consumer": {"", "m1", "n"}, "no message": {"billing", "", "n"}, "no notice": {"billing", "m1", ""},
		"NUL": {"billing", "m1", "n\x00"}, "the message's own ID": {"billing", "m2", "m2"},
	} {
		_, err := barrier.Undo(t.Context(), db, ids[0], ids[1], ids[2], undoing("x"))
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
	}
	require.Zero(t, orders(t, db, "x undone"))
	require.False(t, consumeOrder(t, db, "m2"))
}
