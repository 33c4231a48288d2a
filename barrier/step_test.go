package barrier_test

import (
	"context"
	"runtime"
	"strings"
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

func step(owner string) barrier.StepRow {
	return barrier.StepRow{Owner: owner, Step: "compensate", Op: barrier.StepUndo}
}

// stepRows counts the step rows of an owner.
func stepRows(t *testing.T, db *gorm.DB, owner string) int {
	t.Helper()
	var n int
	require.NoError(t, db.Raw("SELECT count(*) FROM holdfast_steps WHERE owner = ?", owner).Scan(&n).Error)
	return n
}

func TestStepOnceUnder50Runs(t *testing.T) {
	db, _ := migrated(t)
	var firsts, calls atomic.Int32
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for {
				repeated, err := barrier.Step(t.Context(), db, step("m1"), func(_ context.Context, tx *gorm.DB) error {
					n := calls.Add(1)
					if err := placeOrder(tx, "m1"); err != nil {
						return err
					}
					if n < 5 {
						return errBoom // the first ones fail: another run must take over
					}
					return nil
				})
				if err != nil {
					assert.ErrorIs(t, err, errBoom, "run %d", i)
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
	require.Equal(t, 1, stepRows(t, db, "m1"))
}

// A run waits for the one that is in work, and follows how it ends.
func TestStepWaitsForAnother(t *testing.T) {
	for name, end := range map[string]error{"commit": nil, "rollback": errBoom} {
		t.Run(name, func(t *testing.T) {
			db, _ := migrated(t)
			entered, release := make(chan struct{}), make(chan struct{})
			first, second := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := barrier.Step(t.Context(), db, step("m1"), func(_ context.Context, tx *gorm.DB) error {
					close(entered)
					<-release
					if err := placeOrder(tx, "m1"); err != nil {
						return err
					}
					return end
				})
				first <- err
			}()
			<-entered
			var repeated, ran bool
			go func() {
				var err error
				repeated, err = barrier.Step(t.Context(), db, step("m1"), func(_ context.Context, tx *gorm.DB) error {
					ran = true
					return placeOrder(tx, "m1")
				})
				second <- err
			}()
			untilBlocked(t, db, 1)
			// Another step of the same owner, and the same of another, are free.
			for _, row := range []barrier.StepRow{{Owner: "m1", Step: "compensate", Op: barrier.StepDo},
				{Owner: "m1", Step: "other", Op: barrier.StepUndo}, step("m2")} {
				other, err := barrier.Step(t.Context(), db, row, func(context.Context, *gorm.DB) error { return nil })
				require.NoError(t, err)
				require.False(t, other)
			}
			close(release)
			require.ErrorIs(t, <-first, end)
			require.NoError(t, <-second)
			require.Equal(t, end == nil, repeated)
			require.Equal(t, end != nil, ran)
			require.Equal(t, 1, orders(t, db, "m1"))
		})
	}
}

func TestStep(t *testing.T) {
	db, _ := migrated(t)
	var points []string
	fault.Set(func(name string) { points = append(points, name) })
	defer fault.Set(nil)
	run := func(owner string, after func(tx *gorm.DB) error) (bool, error) {
		return barrier.Step(t.Context(), db, step(owner), func(ctx context.Context, tx *gorm.DB) error {
			assert.Equal(t, ctx, tx.Statement.Context)
			if err := placeOrder(tx, owner); err != nil {
				return err
			}
			return after(tx)
		})
	}
	fine := func(*gorm.DB) error { return nil }

	_, err := run("m1", func(*gorm.DB) error { return errBoom })
	require.ErrorIs(t, err, errBoom)
	_, err = run("m1", func(*gorm.DB) error { panic("boom") })
	var p *holdfast.PanicError
	require.ErrorAs(t, err, &p)
	_, err = run("m1", func(tx *gorm.DB) error { tx.Exec("nonsense"); return nil })
	require.ErrorContains(t, err, "COMMIT for step compensate (undo) of m1")
	_, err = run("m1", func(tx *gorm.DB) error { return tx.Rollback().Error })
	require.ErrorContains(t, err, "leave COMMIT and ROLLBACK to Holdfast")
	_, err = run("m1", func(tx *gorm.DB) error { tx.Rollback(); return errBoom })
	require.ErrorContains(t, err, "leave COMMIT and ROLLBACK to Holdfast")
	require.ErrorIs(t, err, errBoom)
	_, err = run("m1", func(*gorm.DB) error { runtime.Goexit(); return nil })
	require.ErrorIs(t, err, guard.ErrExited)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = barrier.Step(ctx, db, step("m1"), func(_ context.Context, tx *gorm.DB) error {
		defer cancel()
		return placeOrder(tx, "m1")
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, orders(t, db, "m1"))
	require.Zero(t, stepRows(t, db, "m1"))
	require.Empty(t, points)

	for i := range 2 {
		repeated, err := run("m1", fine)
		require.NoError(t, err)
		require.Equal(t, i == 1, repeated)
	}
	require.Equal(t, 1, orders(t, db, "m1"))
	require.Equal(t, []string{fault.StepAfterCommit}, points)

	// It was committed by the function itself: reported, and once in effect.
	_, err = run("m2", func(tx *gorm.DB) error { return tx.Commit().Error })
	require.ErrorContains(t, err, "leave COMMIT and ROLLBACK to Holdfast")
	repeated, err := run("m2", fine)
	require.NoError(t, err)
	require.True(t, repeated)
	require.Equal(t, 1, orders(t, db, "m2"))
}

func TestStepInvalid(t *testing.T) {
	db, _ := migrated(t)
	never := func(context.Context, *gorm.DB) error { t.Error("called"); return nil }
	for name, row := range map[string]barrier.StepRow{
		"no owner":   {Step: "s", Op: barrier.StepDo},
		"no step":    {Owner: "o", Op: barrier.StepDo},
		"no op":      {Owner: "o", Step: "s"},
		"other op":   {Owner: "o", Step: "s", Op: "redo"},
		"long owner": {Owner: strings.Repeat("x", 1001), Step: "s", Op: barrier.StepDo},
		"long step":  {Owner: "o", Step: strings.Repeat("x", 501), Op: barrier.StepDo},
		"NUL":        {Owner: "o\x00", Step: "s", Op: barrier.StepDo},
		"not UTF-8":  {Owner: "o", Step: "\xff", Op: barrier.StepDo},
	} {
		_, err := barrier.Step(t.Context(), db, row, never)
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
	}
	_, err := barrier.Step(t.Context(), nil, step("m1"), never)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		_, err := barrier.Step(t.Context(), tx, step("m1"), never)
		require.ErrorIs(t, err, holdfast.ErrInvalid, "in a transaction already")
		return nil
	}))
	// The longest names fit into the index, also where nothing compresses them.
	row := barrier.StepRow{Owner: noise(1000), Step: noise(500), Op: barrier.StepUndo}
	_, err = barrier.Step(t.Context(), db, row, func(context.Context, *gorm.DB) error { return nil })
	require.NoError(t, err)
}

// noise is text of n bytes that does not compress.
func noise(n int) string {
	b, state := make([]byte, n), uint32(1)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = '!' + byte(state>>24)%94
	}
	return string(b)
}
