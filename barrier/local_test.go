package barrier_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/guard"
)

var errBoom = errors.New("boom")

func TestRunCommits(t *testing.T) {
	db, _ := migrated(t)
	l := local("t1")
	var points []string
	fault.Set(func(name string) { points = append(points, name) })
	defer fault.Set(nil)

	r := barrier.Run(t.Context(), db, l, func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		assert.Equal(t, ctx, tx.Statement.Context)
		assert.True(t, l.Messages[0].Equal(*ms[0]))
		assert.Empty(t, points, "COMMIT is not done yet")
		return placeOrder(tx, "t1")
	})

	require.NoError(t, r.Err)
	require.Equal(t, barrier.Result{Resolution: holdfast.Commit, Messages: l.Messages}, r)
	require.Equal(t, []string{fault.LocalAfterCommit}, points)
	require.Equal(t, 1, orders(t, db, "t1"))
	require.Nil(t, requireRow(t, db, "t1", holdfast.Commit).Messages, "unchanged messages are not stored")
	require.NoError(t, placeOrder(db, "after"), "the caller's handle is not in the transaction")
}

func TestRunRepeated(t *testing.T) {
	db, _ := migrated(t)
	require.NoError(t, barrier.Run(t.Context(), db, local("t1"), placing("t1")).Err)
	r := barrier.Run(t.Context(), db, local("t1"), placing("t1"))
	require.NoError(t, r.Err)
	require.Equal(t, barrier.Result{Resolution: holdfast.Commit, Messages: local("t1").Messages, Repeated: true}, r)
	require.Equal(t, 1, orders(t, db, "t1"))
}

func TestRunRollsBack(t *testing.T) {
	cases := map[string]struct {
		fn    func(tx *gorm.DB) error
		check func(t *testing.T, err error)
	}{
		"error": {func(*gorm.DB) error { return errBoom }, func(t *testing.T, err error) { require.ErrorIs(t, err, errBoom) }},
		"error that speaks of another transaction": {
			func(*gorm.DB) error { return holdfast.ErrAlreadyResolved },
			func(t *testing.T, err error) { require.ErrorIs(t, err, holdfast.ErrAlreadyResolved) }},
		"panic": {func(*gorm.DB) error { panic(errBoom) }, func(t *testing.T, err error) {
			var p *holdfast.PanicError
			require.ErrorAs(t, err, &p)
			require.ErrorIs(t, err, errBoom)
			require.Contains(t, string(p.Stack), "local_test.go")
		}},
		"swallowed SQL error": {
			func(tx *gorm.DB) error { tx.Exec("SELECT nothing FROM nowhere"); return nil },
			func(t *testing.T, err error) { require.ErrorContains(t, err, "did not return its error") }},
		"SQL error": {
			func(tx *gorm.DB) error { return tx.Exec("SELECT nothing FROM nowhere").Error },
			func(t *testing.T, err error) { require.NotContains(t, err.Error(), "holdfast migrate") }},
	}
	for name, c := range cases {
		for _, fresh := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", fresh", false: ""}[fresh], func(t *testing.T) {
				db, _ := migrated(t)
				l := local("t1")
				l.Fresh = fresh
				r := barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
					if err := placeOrder(tx, "t1"); err != nil {
						return err
					}
					return c.fn(tx)
				})
				require.Equal(t, holdfast.Rollback, r.Resolution)
				require.Nil(t, r.Messages)
				c.check(t, r.Err)
				require.Zero(t, orders(t, db, "t1"))
				if fresh {
					requireNoRow(t, db, "t1")
					return
				}
				requireRow(t, db, "t1", holdfast.Rollback)
				r = barrier.Run(t.Context(), db, local("t1"), placing("t1"))
				require.Equal(t, holdfast.Rollback, r.Resolution, "rolled back once for all")
				require.ErrorIs(t, r.Err, holdfast.ErrAlreadyResolved)
				require.Zero(t, orders(t, db, "t1"))
			})
		}
	}
}

func TestRunGoexit(t *testing.T) {
	db, _ := migrated(t)
	r := barrier.Run(t.Context(), db, local("t1"), func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
		assert.NoError(t, placeOrder(tx, "t1"))
		runtime.Goexit()
		return nil
	})
	require.ErrorIs(t, r.Err, guard.ErrExited)
	require.Equal(t, holdfast.Rollback, r.Resolution)
	require.Zero(t, orders(t, db, "t1"))
	pool, err := db.DB()
	require.NoError(t, err)
	require.Zero(t, pool.Stats().InUse, "the connection is given back")
	row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
	require.NoError(t, err)
	require.Equal(t, holdfast.Rollback, row.Resolution)
}

func TestRunDeferredConstraint(t *testing.T) {
	db, url := migrated(t)
	require.NoError(t, db.Exec("CREATE TABLE unique_orders (id text UNIQUE DEFERRABLE INITIALLY DEFERRED)").Error)
	for name, cfg := range map[string]*gorm.Config{"plain": {}, "translated errors": {TranslateError: true}} {
		t.Run(name, func(t *testing.T) {
			r := barrier.Run(t.Context(), open(t, url, cfg), local(strings.ReplaceAll(name, " ", "-")),
				func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
					return tx.Exec("INSERT INTO unique_orders VALUES ('same'), ('same')").Error
				})
			require.Equal(t, holdfast.Rollback, r.Resolution)
			require.ErrorContains(t, r.Err, "unique_orders_id_key")
			require.NotErrorIs(t, r.Err, holdfast.ErrUndecided)
		})
	}
}

func TestRunSerializationFailureAtCommit(t *testing.T) {
	db, _ := migrated(t)
	require.NoError(t, db.Exec("INSERT INTO orders VALUES ('a'), ('b')").Error)
	// Each counts what the other inserts: the second COMMIT cannot be serial.
	skew := func(tx *gorm.DB, sees, writes string) error {
		var n int
		if err := tx.Raw("SELECT count(*) FROM orders WHERE id = ?", sees).Scan(&n).Error; err != nil {
			return err
		}
		return placeOrder(tx, writes)
	}
	l := local("t1")
	l.Options = &sql.TxOptions{Isolation: sql.LevelSerializable}
	r := barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
		if err := skew(tx, "a", "b"); err != nil {
			return err
		}
		return db.Transaction(func(other *gorm.DB) error { return skew(other, "b", "a") },
			&sql.TxOptions{Isolation: sql.LevelSerializable})
	})
	require.Equal(t, holdfast.Rollback, r.Resolution)
	require.ErrorContains(t, r.Err, "40001")
}

func TestRunAfterCheckBack(t *testing.T) {
	for name, level := range map[string]sql.IsolationLevel{"default": 0, "repeatable read": sql.LevelRepeatableRead, "serializable": sql.LevelSerializable} {
		for _, fresh := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				db, _ := migrated(t)
				row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
				require.NoError(t, err)
				require.Equal(t, holdfast.Rollback, row.Resolution)
				l := local("t1")
				l.Fresh, l.Options = fresh, &sql.TxOptions{Isolation: level}
				r := barrier.Run(t.Context(), db, l, placing("t1"))
				require.Equal(t, holdfast.Rollback, r.Resolution)
				require.ErrorIs(t, r.Err, holdfast.ErrAlreadyResolved)
				require.ErrorContains(t, r.Err, "a check-back had already answered 'rolled back' for transaction t1")
				require.Zero(t, orders(t, db, "t1"))
			})
		}
	}
}

// A run that waits for another's row must see what that other committed, at any
// isolation level.
func TestRunWaitsForADecisionInFlight(t *testing.T) {
	for name, level := range map[string]sql.IsolationLevel{"default": 0, "repeatable read": sql.LevelRepeatableRead} {
		for decided, want := range map[string]holdfast.Resolution{"commit": holdfast.Commit, "rollback": holdfast.Rollback} {
			t.Run(name+" "+decided, func(t *testing.T) {
				db, _ := migrated(t)
				open := db.Begin()
				require.NoError(t, open.Exec("INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution) VALUES ('t1', ?, ?)", group, decided).Error)
				l := local("t1")
				l.Fresh, l.Options = true, &sql.TxOptions{Isolation: level}
				got := make(chan barrier.Result)
				go func() { got <- barrier.Run(t.Context(), db, l, placing("t1")) }()
				untilBlocked(t, db, 1)
				require.NoError(t, open.Commit().Error)
				require.Equal(t, want, (<-got).Resolution)
				require.Zero(t, orders(t, db, "t1"))
			})
		}
	}
}

// A lock timeout of the caller's own says that somebody has the key.
func TestRunOwnLockTimeout(t *testing.T) {
	_, url := migrated(t)
	db := open(t, url+"&lock_timeout=1", nil)
	other := open(t, url, nil).Begin()
	require.NoError(t, other.Exec("INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution) VALUES ('t1', ?, 'commit')", group).Error)
	l := local("t1")
	l.Fresh = true
	r := barrier.Run(t.Context(), db, l, placing("t1"))
	require.Equal(t, holdfast.Unknown, r.Resolution)
	require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
	require.NoError(t, other.Commit().Error)
	require.Equal(t, holdfast.Commit, barrier.Run(t.Context(), db, l, placing("t1")).Resolution)
}

func TestRunTwiceAtOnce(t *testing.T) {
	db, _ := migrated(t)
	entered, release := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	fn := func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
		calls.Add(1)
		close(entered)
		<-release
		return placeOrder(tx, "t1")
	}
	results := make(chan barrier.Result, 2)
	go func() { results <- barrier.Run(t.Context(), db, local("t1"), fn) }()
	<-entered
	go func() { results <- barrier.Run(t.Context(), db, local("t1"), fn) }()
	untilBlocked(t, db, 1)
	close(release)
	a, b := <-results, <-results
	require.NoError(t, errors.Join(a.Err, b.Err))
	require.Equal(t, holdfast.Commit, a.Resolution)
	require.Equal(t, holdfast.Commit, b.Resolution)
	require.NotEqual(t, a.Repeated, b.Repeated)
	require.EqualValues(t, 1, calls.Load())
	require.Equal(t, 1, orders(t, db, "t1"))
}

// The first of two runs fails, and the second waited for it: whichever comes
// next decides for both.
func TestRunFailsWhileAnotherWaits(t *testing.T) {
	db, _ := migrated(t)
	first, second := make(chan barrier.Result, 1), make(chan barrier.Result, 1)
	entered, release := make(chan struct{}), make(chan struct{})
	go func() {
		first <- barrier.Run(t.Context(), db, local("t1"), func(context.Context, *gorm.DB, []*holdfast.Message) error {
			close(entered)
			<-release
			return errBoom
		})
	}()
	<-entered
	go func() { second <- barrier.Run(t.Context(), db, local("t1"), placing("t1")) }()
	untilBlocked(t, db, 1)
	close(release)
	a, b := <-first, <-second
	require.Equal(t, a.Resolution, b.Resolution)
	if b.Resolution == holdfast.Commit {
		require.True(t, a.Repeated)
		require.Equal(t, 1, orders(t, db, "t1"))
		return
	}
	require.ErrorIs(t, a.Err, errBoom)
	require.ErrorIs(t, b.Err, holdfast.ErrAlreadyResolved)
	require.Zero(t, orders(t, db, "t1"))
}

func TestRunContext(t *testing.T) {
	t.Run("done before", func(t *testing.T) {
		db, _ := migrated(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		l := local("t1")
		l.Fresh = true
		r := barrier.Run(ctx, db, l, placing("t1"))
		require.Equal(t, holdfast.Rollback, r.Resolution)
		require.ErrorIs(t, r.Err, context.Canceled)
		requireNoRow(t, db, "t1")
	})
	t.Run("done before, after an earlier run", func(t *testing.T) {
		db, _ := migrated(t)
		require.NoError(t, barrier.Run(t.Context(), db, local("t1"), placing("t1")).Err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := barrier.Run(ctx, db, local("t1"), placing("t1"))
		require.Equal(t, holdfast.Commit, r.Resolution)
		require.True(t, r.Repeated)
	})
	t.Run("done in the function, ignored by it", func(t *testing.T) {
		db, _ := migrated(t)
		ctx, cancel := context.WithCancel(t.Context())
		r := barrier.Run(ctx, db, local("t1"), func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
			defer cancel()
			return placeOrder(tx, "t1")
		})
		require.Equal(t, holdfast.Rollback, r.Resolution)
		require.ErrorIs(t, r.Err, context.Canceled)
		require.Zero(t, orders(t, db, "t1"))
	})
	t.Run("gorm's default timeout", func(t *testing.T) {
		_, url := migrated(t)
		db := open(t, url, &gorm.Config{DefaultTransactionTimeout: 50 * time.Millisecond})
		r := barrier.Run(t.Context(), db, local("t1"), func(ctx context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
			<-ctx.Done()
			return ctx.Err()
		})
		require.Equal(t, holdfast.Rollback, r.Resolution)
		require.ErrorIs(t, r.Err, context.DeadlineExceeded)
	})
}

// A function that ends the transaction itself has left nothing certain.
func TestRunFunctionEndsTransaction(t *testing.T) {
	cases := map[string]struct {
		fn   func(tx *gorm.DB) error
		want holdfast.Resolution
	}{
		"commits, returns nil":         {func(tx *gorm.DB) error { return tx.Commit().Error }, holdfast.Commit},
		"commits, returns an error":    {func(tx *gorm.DB) error { tx.Commit(); return errBoom }, holdfast.Commit},
		"commits, panics":              {func(tx *gorm.DB) error { tx.Commit(); panic(errBoom) }, holdfast.Commit},
		"rolls back, returns nil":      {func(tx *gorm.DB) error { return tx.Rollback().Error }, holdfast.Rollback},
		"rolls back, returns an error": {func(tx *gorm.DB) error { tx.Rollback(); return errBoom }, holdfast.Rollback},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			db, _ := migrated(t)
			l := local("t1")
			l.Fresh = true
			r := barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
				return c.fn(tx)
			})
			if c.want == holdfast.Rollback {
				require.Equal(t, holdfast.Rollback, r.Resolution)
			} else {
				require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
			}
			require.ErrorContains(t, r.Err, "leave COMMIT and ROLLBACK to Holdfast")
			row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
			require.NoError(t, err)
			require.Equal(t, c.want, row.Resolution)
		})
	}
}

func TestRunNestedSavepoint(t *testing.T) {
	db, _ := migrated(t)
	r := barrier.Run(t.Context(), db, local("t1"), func(_ context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		err := tx.Transaction(func(tx *gorm.DB) error {
			assert.NoError(t, placeOrder(tx, "undone"))
			return errBoom
		})
		assert.ErrorIs(t, err, errBoom)
		ms[0].Body = []byte("changed")
		return placeOrder(tx, "t1")
	})
	require.NoError(t, r.Err)
	require.Equal(t, 1, orders(t, db, "t1"))
	require.Zero(t, orders(t, db, "undone"))
	require.True(t, r.Changed)
}

func TestRunRefuses(t *testing.T) {
	db, url := migrated(t)
	never := func(context.Context, *gorm.DB, []*holdfast.Message) error { t.Error("called"); return nil }
	refused := func(db *gorm.DB, l barrier.Local) barrier.Result {
		t.Helper()
		r := barrier.Run(t.Context(), db, l, never)
		require.ErrorIs(t, r.Err, holdfast.ErrInvalid)
		require.NotEqual(t, holdfast.Commit, r.Resolution)
		return r
	}
	refused(nil, local("t1"))
	refused(db.Session(&gorm.Session{DryRun: true}), local("t1"))
	refused(db, barrier.Local{Group: group})
	refused(db, barrier.Local{TxID: "t1"})
	refused(db, barrier.Local{TxID: "t1", Group: group, Options: &sql.TxOptions{ReadOnly: true}})
	inside := func(tx *gorm.DB) error {
		require.ErrorContains(t, refused(tx, local("t1")).Err, "in a transaction already")
		return nil
	}
	require.NoError(t, db.Transaction(inside))
	prepared := open(t, url, &gorm.Config{PrepareStmt: true})
	require.NoError(t, prepared.Transaction(inside))

	fresh := local("t1")
	fresh.Fresh = true
	require.Equal(t, holdfast.Rollback, refused(nil, fresh).Resolution)
	requireNoRow(t, db, "t1")
}

func TestRunOtherGroup(t *testing.T) {
	db, _ := migrated(t)
	require.NoError(t, barrier.Run(t.Context(), db, local("t1"), placing("t1")).Err)
	l := local("t1")
	l.Group, l.Fresh = "payments", true
	r := barrier.Run(t.Context(), db, l, placing("t1"))
	require.Equal(t, holdfast.Unknown, r.Resolution)
	require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
	require.ErrorContains(t, r.Err, `belongs to producer group "orders", not "payments"`)
	require.Equal(t, 1, orders(t, db, "t1"))
}

// Whatever Run, CheckBack and Decide answer on one key, and however they
// interleave, they never contradict each other or the effects.
func TestOneResolution(t *testing.T) {
	db, _ := migrated(t)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(40)
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	commits := 0
	for round := range rounds {
		id := "tx-" + time.Duration(round).String()
		var mu sync.Mutex
		seen := map[holdfast.Resolution]int{}
		var calls []func() holdfast.Resolution
		run := func(fn func(*gorm.DB) error, level sql.IsolationLevel) func() holdfast.Resolution {
			return func() holdfast.Resolution {
				l := local(id)
				l.Options = &sql.TxOptions{Isolation: level}
				return barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
					if err := placeOrder(tx, id); err != nil {
						return err
					}
					return fn(tx)
				}).Resolution
			}
		}
		ok := func(*gorm.DB) error { return nil }
		calls = append(calls,
			run(ok, 0), run(ok, sql.LevelRepeatableRead), run(ok, sql.LevelSerializable),
			run(func(*gorm.DB) error { return errBoom }, 0),
			run(func(*gorm.DB) error { panic("boom") }, 0),
			run(func(tx *gorm.DB) error { tx.Exec("SELECT pg_terminate_backend(pg_backend_pid())"); return nil }, 0),
			func() holdfast.Resolution {
				row, _ := barrier.CheckBack(t.Context(), db, id, group, time.Millisecond)
				return row.Resolution
			},
			func() holdfast.Resolution {
				row, _ := barrier.CheckBack(t.Context(), db, id, group, 0)
				return row.Resolution
			},
			func() holdfast.Resolution {
				row, _ := barrier.Decide(t.Context(), db, id, group, holdfast.Rollback, 0)
				return row.Resolution
			})
		// Each call is left out, or started in the order of the map.
		kept := map[int]func() holdfast.Resolution{}
		for i, call := range calls {
			if (round*7+i*3)%4 != 0 {
				kept[i] = call
			}
		}
		var wg sync.WaitGroup
		for _, call := range kept {
			wg.Go(func() {
				r := call()
				mu.Lock()
				defer mu.Unlock()
				seen[r]++
			})
		}
		wg.Wait()
		final, err := barrier.CheckBack(t.Context(), db, id, group, 0)
		require.NoError(t, err)
		seen[final.Resolution]++
		require.False(t, seen[holdfast.Commit] > 0 && seen[holdfast.Rollback] > 0, "round %d: %v", round, seen)
		want := 0
		if final.Resolution == holdfast.Commit {
			want = 1
			commits++
		}
		require.Equal(t, want, orders(t, db, id), "round %d: %v", round, seen)
	}
	t.Logf("%d of %d rounds committed", commits, rounds)
}
