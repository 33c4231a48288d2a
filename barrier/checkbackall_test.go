package barrier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// numbered are n transactions' IDs.
func numbered(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("t%03d", i)
	}
	return ids
}

// opened begins the local transactions of ids and returns what commits them.
func opened(t *testing.T, db *gorm.DB, ids ...string) (commit func()) {
	t.Helper()
	tx := db.Begin()
	require.NoError(t, tx.Error)
	for _, id := range ids {
		_, err := barrier.Insert(t.Context(), tx, id, group)
		require.NoError(t, err)
	}
	done := sync.OnceFunc(func() { require.NoError(t, tx.Commit().Error) })
	t.Cleanup(done)
	return done
}

func TestCheckBackAllPassesLockedRowsBy(t *testing.T) {
	for _, held := range []int{1, 100} {
		t.Run(fmt.Sprint(held), func(t *testing.T) {
			db, _ := migrated(t)
			ids := numbered(200)
			for _, id := range ids[100:150] {
				require.NoError(t, barrier.Run(t.Context(), db, local(id), placing(id)).Err)
			}
			commit := opened(t, db, ids[:held]...)
			rows, errs := barrier.CheckBackAll(t.Context(), db, ids, group, 0)
			for i, row := range rows {
				require.Equal(t, ids[i], row.TxID)
				switch {
				case i < held:
					require.ErrorContains(t, errs[i], "check back transaction "+ids[i]+": the local transaction is still open")
					require.Equal(t, holdfast.Unknown, row.Resolution)
				case i >= 100 && i < 150:
					require.NoError(t, errs[i])
					require.Equal(t, holdfast.Commit, row.Resolution)
				default:
					require.NoError(t, errs[i])
					require.Equal(t, holdfast.Rollback, row.Resolution)
					requireRow(t, db, ids[i], holdfast.Rollback)
				}
			}
			commit()
			rows, errs = barrier.CheckBackAll(t.Context(), db, ids, group, 0)
			for i := range held {
				require.NoError(t, errs[i])
				require.Equal(t, holdfast.Commit, rows[i].Resolution)
			}
		})
	}
}

// TestCheckBackAllIsOneStatement: one round trip, and nothing is left of its
// settings.
func TestCheckBackAllIsOneStatement(t *testing.T) {
	db, _ := migrated(t)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	spying, s := spied(t, db)
	_, errs := barrier.CheckBackAll(t.Context(), spying, numbered(20), group, time.Hour)
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, []string{"SELECT id, is_locked,"}, s.seen)
	var setting string
	require.NoError(t, db.Raw("SHOW lock_timeout").Scan(&setting).Error)
	require.Equal(t, "0", setting)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error { // where a setting would outlive its statement
		require.NoError(t, tx.Exec("SELECT holdfast_check_back('{t1}', 'orders', 7, 1)").Error)
		return tx.Raw("SHOW lock_timeout").Scan(&setting).Error
	}))
	require.Equal(t, "0", setting)
}

// TestCheckBackAllFollowsWhatItWaitedFor: the answer is the database's, whatever
// isolation level it has by default.
func TestCheckBackAllFollowsWhatItWaitedFor(t *testing.T) {
	for _, level := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			db, _ := migrated(t)
			commit := opened(t, db, "t001")
			require.NoError(t, db.Exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = '"+`'`+level+`'`+"'', current_database()); END $$").Error)
			pool, err := db.DB()
			require.NoError(t, err)
			pool.SetMaxIdleConns(0) // new sessions have the new default
			type answers struct {
				rows []barrier.Outcome
				errs []error
			}
			asked := make(chan answers, 1)
			go func() {
				rows, errs := barrier.CheckBackAll(t.Context(), db, numbered(3), group, time.Minute)
				asked <- answers{rows, errs}
			}()
			untilBlocked(t, db, 1)
			commit()
			a := <-asked
			require.Equal(t, holdfast.Rollback, a.rows[0].Resolution)
			require.Equal(t, holdfast.Rollback, a.rows[2].Resolution)
			if level == "read committed" {
				require.NoError(t, a.errs[1])
				require.Equal(t, holdfast.Commit, a.rows[1].Resolution)
				return
			}
			require.ErrorContains(t, a.errs[1], "still open")
			require.Equal(t, holdfast.Unknown, a.rows[1].Resolution)
			rows, errs := barrier.CheckBackAll(t.Context(), db, numbered(3), group, 0)
			require.NoError(t, errs[1])
			require.Equal(t, holdfast.Commit, rows[1].Resolution)
		})
	}
}

// TestCheckBackAllBlocksALateCommit: a local transaction that begins while the
// sweep runs waits for it, and finds itself rolled back.
func TestCheckBackAllBlocksALateCommit(t *testing.T) {
	db, _ := migrated(t)
	commit := opened(t, db, "t002") // the sweep waits for this one, with t000 and t001 inserted
	swept := make(chan []barrier.Outcome, 1)
	go func() {
		rows, _ := barrier.CheckBackAll(t.Context(), db, numbered(3), group, time.Minute)
		swept <- rows
	}()
	untilBlocked(t, db, 1)
	ran := make(chan barrier.Result, 1)
	go func() { ran <- barrier.Run(t.Context(), db, local("t000"), placing("t000")) }()
	untilBlocked(t, db, 2)
	commit()
	rows, r := <-swept, <-ran
	require.Equal(t, holdfast.Rollback, rows[0].Resolution)
	require.Equal(t, holdfast.Commit, rows[2].Resolution)
	require.Equal(t, holdfast.Rollback, r.Resolution)
	require.ErrorIs(t, r.Err, holdfast.ErrAlreadyResolved)
	require.Zero(t, orders(t, db, "t000"))
}

// TestCheckBackAllAtOnce: overlapping sweeps in any order neither deadlock nor
// contradict each other or the local transactions that run meanwhile.
func TestCheckBackAllAtOnce(t *testing.T) {
	db, _ := migrated(t)
	ids := numbered(300)
	var mu sync.Mutex
	known := map[string]holdfast.Resolution{}
	note := func(id string, r holdfast.Resolution) {
		mu.Lock()
		defer mu.Unlock()
		if r == holdfast.Unknown {
			return
		}
		if was := known[id]; was != holdfast.Unknown {
			assert.Equal(t, was, r, id)
		}
		known[id] = r
	}
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 0))
			for range 8 {
				some := slices.Clone(ids)
				rnd.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
				rows, errs := barrier.CheckBackAll(t.Context(), db, some[:150], group, time.Minute)
				for i, row := range rows {
					assert.NoError(t, errs[i])
					note(row.TxID, row.Resolution)
				}
			}
		})
	}
	wg.Go(func() {
		for _, id := range ids {
			l := local(id)
			l.Fresh = true
			note(id, barrier.Run(t.Context(), db, l, placing(id)).Resolution)
		}
	})
	wg.Wait()
	for _, id := range ids {
		row := requireRow(t, db, id, known[id])
		require.Equal(t, row.Resolution == holdfast.Commit, orders(t, db, id) == 1)
	}
}

func TestCheckBackAllReturnsChangedMessages(t *testing.T) {
	db, _ := migrated(t)
	ids := numbered(40)
	for i, id := range ids {
		require.NoError(t, barrier.Run(t.Context(), db, local(id), func(_ context.Context, _ *gorm.DB, ms []*holdfast.Message) error {
			if i > 0 { // the first one is as it was
				ms[0].Body = bytes.Repeat([]byte("x"), i*2000)
			}
			return nil
		}).Err)
	}
	rows, errs := barrier.CheckBackAll(t.Context(), db, ids, group, 0)
	total := 0
	for i, row := range rows {
		if errs[i] == nil {
			require.Equal(t, holdfast.Commit, row.Resolution)
			require.Equal(t, i > 0, row.Messages != nil)
			for _, m := range row.Messages {
				require.Len(t, m.Body, i*2000)
				total += len(m.Body)
			}
			continue
		}
		require.ErrorContains(t, errs[i], "too large for a sweep")
		require.Equal(t, holdfast.Unknown, row.Resolution)
		require.Greater(t, i, 20, "the smallest come first")
	}
	require.Less(t, total, 768<<10)
	require.Error(t, errs[39])
	row, err := barrier.CheckBack(t.Context(), db, ids[39], group, 0)
	require.NoError(t, err)
	require.Len(t, row.Messages[0].Body, 78000)
}

func TestCheckBackAllErrorsAreUnknown(t *testing.T) {
	db, _ := migrated(t)
	require.NoError(t, barrier.Run(t.Context(), db, local("t1"), placing("t1")).Err)
	unknown := func(ctx context.Context, on *gorm.DB, want string) {
		t.Helper()
		rows, errs := barrier.CheckBackAll(ctx, on, []string{"t1", "t9"}, group, 0)
		for i := range rows {
			require.ErrorContains(t, errs[i], want)
			require.Equal(t, holdfast.Unknown, rows[i].Resolution)
			var all *barrier.SweepError
			require.Equal(t, on != nil, errors.As(errs[i], &all))
		}
	}
	rows, errs := barrier.CheckBackAll(t.Context(), db, nil, group, 0)
	require.Empty(t, rows)
	require.Empty(t, errs)
	unknown(t.Context(), nil, "the gorm database is nil")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	unknown(ctx, db, "check back 2 transactions: context canceled")

	require.NoError(t, db.Exec("INSERT INTO holdfast_outcomes VALUES ('bad', ?, 'commit', 'x'::bytea), ('theirs', 'payments', 'commit', null)", group).Error)
	rows, errs = barrier.CheckBackAll(t.Context(), db, []string{"bad", "t1", "a b", "theirs", "t2", "t1", ""}, group, 0)
	require.ErrorIs(t, errs[0], holdfast.ErrMalformed)
	for _, err := range errs {
		var all *barrier.SweepError
		require.False(t, errors.As(err, &all), "%v", err)
	}
	require.ErrorContains(t, errs[3], "belongs to producer group")
	for _, i := range []int{2, 3, 6} {
		require.ErrorIs(t, errs[i], holdfast.ErrInvalid)
	}
	for i, want := range []holdfast.Resolution{0, holdfast.Commit, 0, 0, holdfast.Rollback, holdfast.Commit, 0} {
		require.Equal(t, want, rows[i].Resolution, rows[i].TxID)
	}
	rows, errs = barrier.CheckBackAll(t.Context(), db, []string{"t1"}, "a/b", 0)
	require.ErrorIs(t, errs[0], holdfast.ErrInvalid)
	require.Equal(t, holdfast.Unknown, rows[0].Resolution)

	// What COMMIT refuses is no answer, although the rows were read before.
	require.NoError(t, db.Exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$`).Error)
	require.NoError(t, db.Exec(`CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON holdfast_outcomes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`).Error)
	unknown(t.Context(), db, "refused")
	requireNoRow(t, db, "t9")
	require.NoError(t, db.Exec(`DROP TRIGGER refuse ON holdfast_outcomes`).Error)

	// A lock on the whole table.
	tx := db.Begin()
	require.NoError(t, tx.Exec("LOCK TABLE holdfast_outcomes").Error)
	unknown(t.Context(), db, "lock timeout")
	require.NoError(t, tx.Rollback().Error)

	require.NoError(t, db.Exec("DROP TABLE holdfast_outcomes").Error)
	unknown(t.Context(), db, "run `holdfast migrate`")
}

// TestCheckBackAllBesideRetention: a row that is deleted while the sweep waits
// for others is no rollback.
func TestCheckBackAllBesideRetention(t *testing.T) {
	db, _ := migrated(t)
	require.NoError(t, db.Exec("INSERT INTO holdfast_outcomes VALUES ('t000', 'orders', 'commit', null, now() - interval '1 year')").Error)
	commit := opened(t, db, "t001")
	asked := make(chan []error, 1)
	var rows []barrier.Outcome
	go func() {
		var errs []error
		rows, errs = barrier.CheckBackAll(t.Context(), db, numbered(3), group, time.Minute)
		asked <- errs
	}()
	untilBlocked(t, db, 1)
	n, err := barrier.DeleteOutcomes(t.Context(), db, time.Hour, 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	commit()
	errs := <-asked
	require.ErrorContains(t, errs[0], "retention must be longer")
	require.Equal(t, holdfast.Unknown, rows[0].Resolution)
	require.NoError(t, errs[1])
	require.NoError(t, errs[2])
}

// TestCheckBackAllSearchPath: the function finds the table where its caller would,
// not where it was created.
func TestCheckBackAllSearchPath(t *testing.T) {
	address := databaseURL(t)
	plain := open(t, address, nil)
	for _, schema := range []string{"one", "two"} {
		require.NoError(t, plain.Exec("CREATE SCHEMA "+schema).Error)
		db := open(t, within(t, address, schema), nil)
		require.NoError(t, barrier.Migrate(t.Context(), db))
		rows, errs := barrier.CheckBackAll(t.Context(), db, []string{"t1"}, group, 0)
		require.NoError(t, errs[0])
		require.Equal(t, holdfast.Rollback, rows[0].Resolution)
		require.Equal(t, 1, rowsIn(t, plain, schema, "t1"))
	}
	_, errs := barrier.CheckBackAll(t.Context(), plain, []string{"t1"}, group, 0)
	require.ErrorContains(t, errs[0], "run `holdfast migrate`")
	// One session that changes its path.
	pool, err := plain.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	for _, schema := range []string{"one", "two", "one"} {
		require.NoError(t, plain.Exec("SET search_path = "+schema).Error)
		id := "in-" + schema
		_, errs := barrier.CheckBackAll(t.Context(), plain, []string{id}, group, 0)
		require.NoError(t, errs[0])
		require.Equal(t, 1, rowsIn(t, plain, schema, id))
	}
}

// within is address with schema as its search_path.
func within(t *testing.T, address, schema string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func rowsIn(t *testing.T, db *gorm.DB, schema, id string) (n int) {
	t.Helper()
	require.NoError(t, db.Raw("SELECT count(*) FROM "+schema+".holdfast_outcomes WHERE tx_id = ?", id).Scan(&n).Error)
	return n
}

func TestMigrateFromVersion2(t *testing.T) {
	db := open(t, databaseURL(t), nil)
	pool, err := db.DB()
	require.NoError(t, err)
	p, err := goose.NewProvider(goose.DialectPostgres, pool, os.DirFS("migrations"),
		goose.WithTableName("holdfast_migrations"), goose.WithDisableGlobalRegistry(true))
	require.NoError(t, err)
	_, err = p.UpTo(t.Context(), 2)
	require.NoError(t, err)
	require.NoError(t, db.Exec("INSERT INTO holdfast_outcomes VALUES ('t1', ?, 'commit')", group).Error)
	require.ErrorContains(t, barrier.CheckMigrated(t.Context(), db), "are at version 2")
	_, errs := barrier.CheckBackAll(t.Context(), db, []string{"t1"}, group, 0)
	require.ErrorContains(t, errs[0], "run `holdfast migrate`")
	require.NoError(t, barrier.Migrate(t.Context(), db))
	rows, errs := barrier.CheckBackAll(t.Context(), db, []string{"t1"}, group, 0)
	require.NoError(t, errs[0])
	require.Equal(t, holdfast.Commit, rows[0].Resolution)
}
