package barrier_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

type answer struct {
	row barrier.Outcome
	err error
}

func TestCheckBackFollowsAnOpenLocalTransaction(t *testing.T) {
	for name, end := range map[string]error{"commit": nil, "rollback": errBoom} {
		t.Run(name, func(t *testing.T) {
			db, _ := migrated(t)
			// An isolation level by default that must not matter here.
			require.NoError(t, db.Exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$").Error)
			entered, release := make(chan struct{}), make(chan struct{})
			ran, asked := make(chan barrier.Result, 1), make(chan answer, 1)
			l := local("t1")
			l.Fresh = true
			go func() {
				ran <- barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
					close(entered)
					<-release
					if err := placeOrder(tx, "t1"); err != nil {
						return err
					}
					return end
				})
			}()
			<-entered
			go func() {
				row, err := barrier.CheckBack(t.Context(), db, "t1", group, time.Minute)
				asked <- answer{row, err}
			}()
			untilBlocked(t, db, 1)
			close(release)
			r, a := <-ran, <-asked
			require.NoError(t, a.err)
			require.Equal(t, name, a.row.Resolution.String())
			require.Equal(t, a.row.Resolution, r.Resolution)
			requireRow(t, db, "t1", r.Resolution)
		})
	}
}

func TestCheckBackLockTimeout(t *testing.T) {
	db, _ := migrated(t)
	r := barrier.Run(t.Context(), db, local("t1"), func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
		for _, timeout := range []time.Duration{time.Nanosecond, 10 * time.Millisecond} {
			row, err := barrier.CheckBack(t.Context(), db, "t1", group, timeout)
			require.ErrorContains(t, err, "the local transaction is still open")
			require.Equal(t, holdfast.Unknown, row.Resolution)
			row, err = barrier.Decide(t.Context(), db, "t1", group, holdfast.Rollback, timeout)
			require.ErrorContains(t, err, "the local transaction is still open")
			require.NotErrorIs(t, err, holdfast.ErrAlreadyResolved)
			require.Equal(t, holdfast.Unknown, row.Resolution)
		}
		return placeOrder(tx, "t1")
	})
	require.NoError(t, r.Err)
	row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
	require.NoError(t, err)
	require.Equal(t, holdfast.Commit, row.Resolution)

	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	_, err = barrier.CheckBack(t.Context(), db, "t2", group, time.Minute)
	require.NoError(t, err)
	var setting string
	require.NoError(t, db.Raw("SHOW lock_timeout").Scan(&setting).Error)
	require.Equal(t, "0", setting, "the connection's own setting is left as it was")
}

func TestCheckBackOtherGroup(t *testing.T) {
	db, _ := migrated(t)
	require.NoError(t, barrier.Run(t.Context(), db, local("t1"), placing("t1")).Err)
	for _, id := range []string{"t1"} {
		row, err := barrier.CheckBack(t.Context(), db, id, "payments", 0)
		require.ErrorContains(t, err, "belongs to producer group")
		require.Equal(t, holdfast.Unknown, row.Resolution)
		row, err = barrier.Decide(t.Context(), db, id, "payments", holdfast.Commit, 0)
		require.ErrorContains(t, err, "belongs to producer group")
		require.Equal(t, holdfast.Unknown, row.Resolution)
	}
}

func TestCheckBackErrorsAreUnknown(t *testing.T) {
	db, _ := migrated(t)
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		row, err := barrier.CheckBack(ctx, db, "t1", group, 0)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, holdfast.Unknown, row.Resolution)
	})
	t.Run("COMMIT refused", func(t *testing.T) {
		require.NoError(t, db.Exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$`).Error)
		require.NoError(t, db.Exec(`CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON holdfast_outcomes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`).Error)
		defer db.Exec(`DROP TRIGGER refuse ON holdfast_outcomes`)
		row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
		require.ErrorContains(t, err, "refused")
		require.Equal(t, holdfast.Unknown, row.Resolution)

		l := local("t2")
		l.Fresh = true
		r := barrier.Run(t.Context(), db, l, placing("t2"))
		require.Equal(t, holdfast.Rollback, r.Resolution)
		r = barrier.Run(t.Context(), db, local("t2"), placing("t2"))
		require.Equal(t, holdfast.Unknown, r.Resolution, "the rollback could not be made known")
		require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
	})
	t.Run("malformed messages", func(t *testing.T) {
		require.NoError(t, db.Exec("INSERT INTO holdfast_outcomes VALUES ('bad', ?, 'commit', 'x'::bytea)", group).Error)
		row, err := barrier.CheckBack(t.Context(), db, "bad", group, 0)
		require.ErrorIs(t, err, holdfast.ErrMalformed)
		require.Equal(t, holdfast.Unknown, row.Resolution)
	})
	t.Run("no table", func(t *testing.T) {
		require.NoError(t, db.Exec("DROP TABLE holdfast_outcomes").Error)
		row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
		require.ErrorContains(t, err, "run `holdfast migrate`")
		require.Equal(t, holdfast.Unknown, row.Resolution)
	})
}

func TestDecide(t *testing.T) {
	db, _ := migrated(t)
	for _, r := range []holdfast.Resolution{holdfast.Commit, holdfast.Rollback} {
		id, other := r.String(), holdfast.Commit+holdfast.Rollback-r
		for range 2 { // the second time finds the row
			row, err := barrier.Decide(t.Context(), db, id, group, r, 0)
			require.NoError(t, err)
			require.Equal(t, r, row.Resolution)
		}
		row, err := barrier.Decide(t.Context(), db, id, group, other, 0)
		require.ErrorIs(t, err, holdfast.ErrAlreadyResolved)
		require.Equal(t, r, row.Resolution)
		row, err = barrier.CheckBack(t.Context(), db, id, group, 0)
		require.NoError(t, err)
		require.Equal(t, r, row.Resolution)
		require.Equal(t, r, barrier.Run(t.Context(), db, local(id), placing(id)).Resolution)
		require.Zero(t, orders(t, db, id))
	}
	_, err := barrier.Decide(t.Context(), db, "t1", group, holdfast.Unknown, 0)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	_, err = barrier.Decide(t.Context(), db, "", group, holdfast.Commit, 0)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
}
