package barrier_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

const execMode = "default_query_exec_mode=exec"

// Twelve processes migrate at once through a pooler of transactions, as it is, and
// leave no lock behind.
func TestMigrateThroughAPooler(t *testing.T) {
	t.Parallel()
	url := databaseURL(t)
	through := stacktest.Pgbouncer(t, url, "transaction", 3)
	errs := make([]error, 12)
	var wg sync.WaitGroup
	for i := range errs {
		db := open(t, through, nil)
		wg.Go(func() { errs[i] = barrier.Migrate(t.Context(), db) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	direct := open(t, url, nil)
	require.NoError(t, barrier.CheckMigrated(t.Context(), direct))
	require.NoError(t, barrier.CheckMigrated(t.Context(), open(t, through, nil)))
	var locks int
	require.NoError(t, direct.Raw("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&locks).Error)
	require.Zero(t, locks)
}

// A lock that a session has kept without migrating is told, with the remedy, and that
// one helps.
//
// It is not parallel: it changes how long that takes.
func TestMigrateBehindALockThatWasLeft(t *testing.T) {
	defer barrier.LeftAtOnce()()
	url := databaseURL(t)
	db := open(t, url, nil)
	left := open(t, url, nil)
	pool, err := left.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	require.NoError(t, left.Exec("SELECT pg_advisory_lock(x'686f6c6466617374'::bigint)").Error)
	err = barrier.Migrate(t.Context(), db)
	var away *holdfast.UnavailableError
	require.ErrorAs(t, err, &away)
	_, remedy, ok := strings.Cut(away.Remedy, "SELECT ")
	require.True(t, ok, away.Remedy)
	require.NoError(t, db.Exec("SELECT "+remedy).Error)
	require.NoError(t, barrier.Migrate(t.Context(), db))
	require.NoError(t, barrier.CheckMigrated(t.Context(), db))
}

// Whether a pooler is between, and whether this pool can be used through it.
func TestPooler(t *testing.T) {
	t.Parallel()
	_, url := migrated(t)
	transaction := stacktest.Pgbouncer(t, url, "transaction", 4)
	session := stacktest.Pgbouncer(t, url, "session", 40)
	for _, c := range []struct {
		url      string
		prepare  bool
		want     barrier.Pooler
		problems bool
	}{
		{url, false, barrier.Pooler{Prepares: true}, false},
		{url, true, barrier.Pooler{Prepares: true}, false},
		{session, false, barrier.Pooler{There: true, Prepares: true}, false},
		{transaction, false, barrier.Pooler{There: true, Transactions: true, Mixes: true, Prepares: true}, true},
		{transaction + "&" + execMode, false, barrier.Pooler{There: true, Transactions: true, Mixes: true}, false},
		{transaction + "&" + execMode, true, barrier.Pooler{There: true, Transactions: true, Mixes: true, Prepares: true}, true},
	} {
		for range 2 { // what the first time left is no matter
			db := open(t, c.url, &gorm.Config{PrepareStmt: c.prepare})
			got, err := barrier.FindPooler(t.Context(), db)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			err = barrier.CheckPooler(t.Context(), db)
			require.Equal(t, c.problems, err != nil, err)
			if c.problems {
				require.ErrorContains(t, err, execMode)
			}
		}
	}

	// With what it says, every transaction works, and what ends itself is seen.
	db := open(t, transaction+"&"+execMode, nil)
	errs := make([]error, 320)
	var wg sync.WaitGroup
	places := make(chan struct{}, 32)
	for i := range errs {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			id := fmt.Sprint("p", i)
			errs[i] = barrier.Run(t.Context(), db, local(id), placing(id)).Err
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	for i, sql := range []string{"ROLLBACK", "ROLLBACK; BEGIN", "COMMIT; BEGIN"} {
		r := barrier.Run(t.Context(), db, local(fmt.Sprint("ended", i)), func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error { return tx.Exec(sql).Error })
		require.ErrorContains(t, r.Err, toldSo, sql)
	}

	// Without it, an error of the function's own statements says so, too.
	direct := open(t, url, nil)
	r := barrier.Run(t.Context(), direct, local("raw"), func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
		return tx.Exec("EXECUTE nothing_such").Error
	})
	require.ErrorContains(t, r.Err, execMode)
}
