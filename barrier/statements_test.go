package barrier_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// spy is a connection pool of the caller's own that notes every statement by
// its first word and table.
type spy struct {
	*sql.DB
	seen []string
	// before is called before each statement, nil: nothing is.
	before func(query string)
}

// spied is db, with what it does noted by the spy.
func spied(t *testing.T, db *gorm.DB) (*gorm.DB, *spy) {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	s := &spy{DB: pool}
	db, err = gorm.Open(postgres.New(postgres.Config{Conn: s}), &gorm.Config{})
	require.NoError(t, err)
	return db, s
}

func (s *spy) note(query string) {
	words := strings.Fields(query)
	if len(words) > 2 {
		words = words[:3]
	}
	s.seen = append(s.seen, strings.Join(words, " "))
	if s.before != nil {
		s.before(query)
	}
}

func (s *spy) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	s.note("BEGIN")
	tx, err := s.DB.BeginTx(ctx, opts)
	return &spyTx{tx, s}, err
}

func (s *spy) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s.note(query)
	return s.DB.ExecContext(ctx, query, args...)
}

func (s *spy) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s.note(query)
	return s.DB.QueryContext(ctx, query, args...)
}

type spyTx struct {
	*sql.Tx
	s *spy
}

func (tx *spyTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tx.s.note(query)
	return tx.Tx.ExecContext(ctx, query, args...)
}

func (tx *spyTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	tx.s.note(query)
	return tx.Tx.QueryRowContext(ctx, query, args...)
}

func (tx *spyTx) Commit() error   { tx.s.note("COMMIT"); return tx.Tx.Commit() }
func (tx *spyTx) Rollback() error { tx.s.note("ROLLBACK"); return tx.Tx.Rollback() }

func TestStatements(t *testing.T) {
	direct, _ := migrated(t)
	db, s := spied(t, direct)
	statements := func(f func()) []string {
		s.seen = nil
		f()
		return s.seen
	}
	const outcome, read, order = "INSERT INTO holdfast_outcomes", "SELECT producer_group, resolution,", "INSERT INTO orders"
	const mine = "SELECT xmin::text =" // this pool is not watched

	require.Equal(t, []string{"BEGIN", outcome, order, mine, "COMMIT"}, statements(func() {
		require.NoError(t, barrier.Run(t.Context(), db, local("t1"), placing("t1")).Err)
	}))
	require.Equal(t, []string{"BEGIN", outcome, read, "ROLLBACK"}, statements(func() {
		require.True(t, barrier.Run(t.Context(), db, local("t1"), placing("t1")).Repeated)
	}), "a row that is there is read in a second statement")
	require.Equal(t, []string{"BEGIN", outcome, mine, "UPDATE holdfast_outcomes SET", "COMMIT"}, statements(func() {
		require.NoError(t, barrier.Run(t.Context(), db, local("t2"), func(_ context.Context, _ *gorm.DB, ms []*holdfast.Message) error {
			ms[0].Key = "changed"
			return nil
		}).Err)
	}))
	fresh := local("t3")
	fresh.Fresh = true
	require.Equal(t, []string{"BEGIN", outcome, "ROLLBACK"}, statements(func() {
		require.ErrorIs(t, barrier.Run(t.Context(), db, fresh, func(context.Context, *gorm.DB, []*holdfast.Message) error { return errBoom }).Err, errBoom)
	}))
	require.Equal(t, []string{"BEGIN", "SELECT set_config('lock_timeout', $1,", outcome, "COMMIT"}, statements(func() {
		_, err := barrier.CheckBack(t.Context(), db, "t3", group, 0)
		require.NoError(t, err)
	}))
	require.Equal(t, []string{"BEGIN", "SELECT set_config('lock_timeout', $1,", outcome, read, "ROLLBACK"}, statements(func() {
		_, err := barrier.CheckBack(t.Context(), db, "t3", group, 0)
		require.NoError(t, err)
	}))
	require.Equal(t, []string{"BEGIN", "INSERT INTO holdfast_inbox", order, mine, "COMMIT"}, statements(func() {
		_, err := barrier.Consume(t.Context(), db, "billing", "m1", func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, "m1") })
		require.NoError(t, err)
	}))
	require.Equal(t, []string{"BEGIN", "INSERT INTO holdfast_inbox", "ROLLBACK"}, statements(func() {
		repeated, err := barrier.Consume(t.Context(), db, "billing", "m1", func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, "m1") })
		require.NoError(t, err)
		require.True(t, repeated)
	}))
	require.Equal(t, []string{"BEGIN", "INSERT INTO holdfast_steps", order, mine, "COMMIT"}, statements(func() {
		_, err := barrier.Step(t.Context(), db, step("m1"), func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, "m1") })
		require.NoError(t, err)
	}), "the row first")
	const inbox = "INSERT INTO holdfast_inbox"
	undo := func(id string) func() {
		return func() {
			_, err := barrier.Undo(t.Context(), db, "billing", id, id+".notice", func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, "undone") })
			require.NoError(t, err)
		}
	}
	require.Equal(t, []string{"BEGIN", inbox, inbox, order, mine, "COMMIT"}, statements(undo("m1")))
	require.Equal(t, []string{"BEGIN", inbox, inbox, "COMMIT"}, statements(undo("m2")))
	require.Equal(t, []string{"BEGIN", inbox, "ROLLBACK"}, statements(undo("m2")))

	const steps, readStep, setStep = "INSERT INTO holdfast_steps", "SELECT d.result, u.op,", "UPDATE holdfast_steps SET"
	do := func(id, result string, again bool, fail error) func() {
		return func() { doStep(t, db, id, again, doing(id, result, fail)) }
	}
	require.Equal(t, []string{"BEGIN", steps, order, mine, "COMMIT"}, statements(do("s1", "", false, nil)))
	require.Equal(t, []string{"BEGIN", steps, order, mine, setStep, "COMMIT"}, statements(do("s2", "1", false, nil)), "one more for the result")
	require.Equal(t, []string{"BEGIN", steps, readStep, "ROLLBACK"}, statements(do("s2", "1", false, nil)))
	require.Equal(t, []string{"BEGIN", steps, order, "ROLLBACK", steps}, statements(do("s3", "", false, refuse("sold out"))))
	require.Equal(t, []string{"BEGIN", steps, readStep, setStep, order, mine, setStep, "COMMIT"}, statements(do("s3", "1", true, nil)))
	first := firstOf(t, db)
	require.Equal(t, []string{"BEGIN", steps, order, mine, order, mine, "WITH begun AS", "COMMIT"}, statements(func() {
		did, err := first.do("{}", "a", "b")
		require.NoError(t, err)
		require.True(t, did)
	}), "the steps' rows at once")
	require.Equal(t, []string{"BEGIN", steps, "ROLLBACK"}, statements(func() { _, _ = first.do("{}", "a", "b") }))
	undoSaga := func(id string) func() {
		return func() { undoOf(t, db, id, "cancelled", undoingStep(id)) }
	}
	require.Equal(t, []string{"BEGIN", steps, steps, readStep, order, mine, "COMMIT"}, statements(undoSaga("s1")))
	require.Equal(t, []string{"BEGIN", steps, readStep, "ROLLBACK"}, statements(undoSaga("s1")), "what it changed is told again")
	require.Equal(t, []string{"BEGIN", steps, steps, "COMMIT"}, statements(undoSaga("s4")))
}
