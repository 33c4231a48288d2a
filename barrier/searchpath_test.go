package barrier_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// TestAFunctionsOwnSearchPath: a function may set the search_path of its transaction,
// as applications with a schema for each tenant do, and reset all settings. What
// Holdfast writes after it is written where its row is.
func TestAFunctionsOwnSearchPath(t *testing.T) {
	t.Parallel()
	plain := databaseURL(t)
	require.NoError(t, open(t, plain, &gorm.Config{}).Exec(`CREATE SCHEMA "Of_its_Own"; CREATE SCHEMA tenant; CREATE TABLE tenant.orders (id text)`).Error)
	u, err := url.Parse(plain)
	require.NoError(t, err)
	query := u.Query()
	query.Set("search_path", `"Of_its_Own"`)
	u.RawQuery = query.Encode()
	for name, cfg := range map[string]*gorm.Config{"as it is": {}, "PrepareStmt": {PrepareStmt: true}} {
		db := open(t, u.String(), cfg)
		require.NoError(t, barrier.Migrate(t.Context(), db))
		for _, settings := range [][]string{{"SET LOCAL search_path = tenant"}, {"SELECT set_config('search_path', 'tenant', true)"}, {"RESET ALL", "SET LOCAL search_path = tenant"}} {
			id := uuid.NewString()
			placed := func(tx *gorm.DB) error {
				for _, set := range settings {
					if err := tx.Exec(set).Error; err != nil {
						return err
					}
				}
				return tx.Exec("INSERT INTO orders VALUES (?)", id).Error
			}
			l := local(id)
			l.Keep = true
			r := barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
				ms[0].Body = []byte("changed")
				return placed(tx)
			})
			require.NoError(t, r.Err, "%s: %s", name, settings)
			require.Equal(t, "changed", string(requireRow(t, db, id, holdfast.Commit).Messages[0].Body))
			_, err := barrier.Consume(t.Context(), db, "payments", id, func(_ context.Context, tx *gorm.DB) error { return placed(tx) })
			require.NoError(t, err, "%s: %s", name, settings)
			did, err := barrier.DoStep(t.Context(), db, id, "pay", false, func(_ context.Context, tx *gorm.DB) ([]byte, error) { return []byte(`1`), placed(tx) })
			require.NoError(t, err, "%s: %s", name, settings)
			require.Equal(t, barrier.StepDone, did.Outcome)
			undone, err := barrier.UndoStep(t.Context(), db, id, "pay", "x", func(_ context.Context, tx *gorm.DB, result []byte) error {
				require.Equal(t, "1", string(result))
				return placed(tx)
			})
			require.NoError(t, err, "%s: %s", name, settings)
			require.Equal(t, barrier.Undone, undone)
			repeated, err := barrier.Step(t.Context(), db, barrier.StepRow{Owner: id, Step: "note", Op: barrier.StepDo}, func(_ context.Context, tx *gorm.DB) error { return placed(tx) })
			require.NoError(t, err, "%s: %s", name, settings)
			require.False(t, repeated)
			var n int
			require.NoError(t, db.Raw("SELECT count(*) FROM tenant.orders WHERE id = ?", id).Scan(&n).Error)
			require.Equal(t, 5, n, id)
		}
	}
}
