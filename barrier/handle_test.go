package barrier_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

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

// traced notes what pgx sends.
type traced struct {
	mu   sync.Mutex
	seen []string
}

func (q *traced) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seen = append(q.seen, strings.Join(strings.Fields(d.SQL)[:1], ""))
	return ctx
}

func (q *traced) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// That the transaction is still ours is seen without asking, with prepared statements
// and without.
func TestNothingIsAsked(t *testing.T) {
	t.Parallel()
	_, url := migrated(t)
	for _, prepare := range []bool{false, true} {
		q := &traced{}
		cfg, err := pgx.ParseConfig(url)
		require.NoError(t, err)
		cfg.Tracer = q
		pool := stdlib.OpenDB(*cfg)
		t.Cleanup(func() { _ = pool.Close() })
		db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), &gorm.Config{PrepareStmt: prepare, Logger: logger.Discard})
		require.NoError(t, err)
		for id, act := range each {
			if id == "Undo" || id == "UndoStep" {
				continue
			}
			id = uuid.NewString()
			q.seen = nil
			require.NoError(t, act(t.Context(), db, id, func(tx *gorm.DB) error { return placeOrder(tx, id) }))
			require.Equal(t, []string{"begin", "INSERT", "INSERT", "commit"}, q.seen)
		}
		l := local(uuid.NewString())
		l.Fresh = true
		q.seen = nil
		require.ErrorIs(t, barrier.Run(t.Context(), db, l, func(context.Context, *gorm.DB, []*holdfast.Message) error { return errBoom }).Err, errBoom)
		require.Equal(t, []string{"begin", "INSERT", "rollback"}, q.seen, "nor where it failed")
	}
}
