package barrier_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// What the function gets is a transaction of database/sql, also where BEGIN went
// to the server with the outcome row.
func TestRunGivesASQLTx(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	r := barrier.Run(t.Context(), db, local("t1"), func(ctx context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
		plain, ok := tx.Statement.ConnPool.(*sql.Tx)
		require.True(t, ok, "%T", tx.Statement.ConnPool)
		var rows int
		require.NoError(t, plain.QueryRowContext(ctx, "SELECT count(*) FROM holdfast_outcomes WHERE tx_id = 't1'").Scan(&rows))
		require.Equal(t, 1, rows)
		return placeOrder(tx, "o1")
	})
	require.NoError(t, r.Err)
	require.Equal(t, holdfast.Commit, r.Resolution)
	require.Equal(t, 1, orders(t, db, "o1"))
}

// Every connection comes back to the pool, however the transaction ended.
func TestRunReturnsItsConnection(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	ends := []func(tx *gorm.DB) error{
		func(tx *gorm.DB) error { return placeOrder(tx, "o1") },
		func(*gorm.DB) error { return errors.New("no") },
		func(*gorm.DB) error { panic("no") },
		func(tx *gorm.DB) error { return tx.Exec("SELECT no_such_column").Error },
		func(tx *gorm.DB) error { return tx.Exec("COMMIT").Error },
		func(tx *gorm.DB) error { return tx.Exec("SELECT pg_terminate_backend(pg_backend_pid())").Error },
	}
	for i, end := range ends {
		for range 3 {
			_ = barrier.Run(t.Context(), db, local(uuid.NewString()), func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error { return end(tx) })
			require.Zero(t, pool.Stats().InUse, "end %d", i)
		}
		var state string
		require.NoError(t, db.Raw("SELECT pg_current_xact_id_if_assigned() IS NULL").Scan(&state).Error)
		require.Equal(t, "true", state, "end %d left a transaction open", i)
	}
}

// A connection that the server has closed meanwhile fails one transaction at most,
// which then had no effect.
func TestRunAfterALostConnection(t *testing.T) {
	t.Parallel()
	db, url := migrated(t)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	var pid int
	require.NoError(t, db.Raw("SELECT pg_backend_pid()").Scan(&pid).Error)
	other := open(t, url, &gorm.Config{})
	require.NoError(t, other.Exec("SELECT pg_terminate_backend(?, 5000)", pid).Error)
	l := local("t1")
	l.Fresh = true
	if r := barrier.Run(t.Context(), db, l, placing("o1")); r.Err != nil {
		var away *holdfast.UnavailableError
		require.ErrorAs(t, r.Err, &away)
		require.Equal(t, holdfast.Rollback, r.Resolution)
		require.Zero(t, orders(t, db, "o1"))
	}
	r := barrier.Run(t.Context(), db, local("t2"), placing("o2"))
	require.NoError(t, r.Err)
	require.Equal(t, 1, orders(t, db, "o2"))
}

// With gorm's cache of prepared statements, which belong to the caller's pool, all
// goes as ever.
func TestRunWithPreparedStatements(t *testing.T) {
	t.Parallel()
	_, url := migrated(t)
	db := open(t, url, &gorm.Config{PrepareStmt: true})
	for _, id := range []string{"t1", "t2"} {
		r := barrier.Run(t.Context(), db, local(id), placing("o-"+id))
		require.NoError(t, r.Err)
		require.Equal(t, 1, orders(t, db, "o-"+id))
	}
}
