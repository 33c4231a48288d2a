package barrier_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/guard"
)

func TestConsumeOnceUnder50Deliveries(t *testing.T) {
	db, _ := migrated(t)
	var firsts, calls atomic.Int32
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for {
				repeated, err := barrier.Consume(t.Context(), db, "billing", "m1", func(_ context.Context, tx *gorm.DB) error {
					n := calls.Add(1)
					if err := placeOrder(tx, "m1"); err != nil {
						return err
					}
					if n < 5 {
						return errBoom // the first ones fail: another delivery must take over
					}
					return nil
				})
				if err != nil {
					assert.ErrorIs(t, err, errBoom, "delivery %d", i)
					continue
				}
				if !repeated {
					firsts.Add(1)
				}
				return
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, firsts.Load())
	require.EqualValues(t, 5, calls.Load())
	require.Equal(t, 1, orders(t, db, "m1"))
}

func TestConsume(t *testing.T) {
	db, _ := migrated(t)
	var points []string
	fault.Set(func(name string) { points = append(points, name) })
	defer fault.Set(nil)
	consume := func(consumer, id string, after func(tx *gorm.DB) error) (bool, error) {
		return barrier.Consume(t.Context(), db, consumer, id, func(ctx context.Context, tx *gorm.DB) error {
			assert.Equal(t, ctx, tx.Statement.Context)
			if err := placeOrder(tx, id); err != nil {
				return err
			}
			return after(tx)
		})
	}
	fine := func(*gorm.DB) error { return nil }

	_, err := consume("billing", "m1", func(*gorm.DB) error { return errBoom })
	require.ErrorIs(t, err, errBoom)
	_, err = consume("billing", "m1", func(*gorm.DB) error { panic("boom") })
	var p *holdfast.PanicError
	require.ErrorAs(t, err, &p)
	require.Equal(t, "boom", p.Value)
	_, err = consume("billing", "m1", func(tx *gorm.DB) error { tx.Exec("nonsense"); return nil })
	require.Error(t, err)
	_, err = consume("billing", "m1", func(tx *gorm.DB) error { return tx.Rollback().Error })
	require.ErrorContains(t, err, "leave COMMIT and ROLLBACK to Holdfast")
	require.Zero(t, orders(t, db, "m1"))
	require.Empty(t, points)

	repeated, err := consume("billing", "m1", fine)
	require.NoError(t, err)
	require.False(t, repeated)
	require.Equal(t, []string{fault.ConsumeAfterCommit}, points)
	repeated, err = consume("billing", "m1", fine)
	require.NoError(t, err)
	require.True(t, repeated)
	require.Equal(t, 1, orders(t, db, "m1"))
	repeated, err = consume("shipping", "m1", fine)
	require.NoError(t, err)
	require.False(t, repeated, "consumers are apart")

	_, err = consume("billing", "m2", func(*gorm.DB) error { runtime.Goexit(); return nil })
	require.ErrorIs(t, err, guard.ErrExited)
	require.Zero(t, orders(t, db, "m2"))

	ctx, cancel := context.WithCancel(t.Context())
	_, err = barrier.Consume(ctx, db, "billing", "m3", func(_ context.Context, tx *gorm.DB) error {
		defer cancel()
		return placeOrder(tx, "m3")
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, orders(t, db, "m3"))

	_, err = barrier.Consume(t.Context(), db, "", "m1", nil)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	_, err = barrier.Consume(t.Context(), db, "billing", "a\x00", nil)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.NoError(t, db.Exec("DROP TABLE holdfast_inbox").Error)
	_, err = consume("billing", "m4", fine)
	require.ErrorContains(t, err, "run `holdfast migrate`")
}

func TestOnce(t *testing.T) {
	db, _ := migrated(t)
	_, err := barrier.Once(t.Context(), db, "billing", "m1")
	require.ErrorIs(t, err, holdfast.ErrInvalid, "not in a transaction")
	for _, want := range []bool{true, false} {
		require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
			first, err := barrier.Once(t.Context(), tx, "billing", "m1")
			require.Equal(t, want, first)
			return err
		}))
	}
}
