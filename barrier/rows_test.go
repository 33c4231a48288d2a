package barrier_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// Rows that a function forgets to close are closed by COMMIT, as in db.Transaction;
// where a statement of Holdfast's comes before, it is told what to do.
func TestRowsLeftOpen(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	leave := func(tx *gorm.DB, id string) error {
		err := placeOrder(tx, id)
		rows, querying := tx.Raw("SELECT generate_series(1, 10000)").Rows() //nolint:rowserrcheck,sqlclosecheck // on purpose
		require.NoError(t, querying)
		require.True(t, rows.Next())
		return err
	}
	for id, change := range map[string]func(m *holdfast.Message){"same": func(*holdfast.Message) {}, "changed": func(m *holdfast.Message) { m.Key = "K-2" }} {
		r := barrier.Run(t.Context(), db, local(id), func(_ context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
			change(ms[0])
			return leave(tx, id)
		})
		if id == "same" {
			require.NoError(t, r.Err)
			require.Equal(t, 1, orders(t, db, id))
			continue
		}
		require.ErrorContains(t, r.Err, "close them (rows.Close)")
		require.Equal(t, holdfast.Rollback, r.Resolution)
		require.Zero(t, orders(t, db, id))
	}
	_, err := barrier.Consume(t.Context(), db, "billing", "m1", func(_ context.Context, tx *gorm.DB) error { return leave(tx, "m1") })
	require.NoError(t, err)
	_, err = barrier.DoStep(t.Context(), db, "s1", "a", false, func(_ context.Context, tx *gorm.DB) ([]byte, error) { return nil, leave(tx, "s1") })
	require.NoError(t, err)
	_, err = barrier.DoStep(t.Context(), db, "s2", "a", false, func(_ context.Context, tx *gorm.DB) ([]byte, error) { return []byte("1"), leave(tx, "s2") })
	require.ErrorContains(t, err, "close them (rows.Close)")
	require.Zero(t, orders(t, db, "s2"))
}
