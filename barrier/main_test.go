package barrier_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

const group = "orders"

func TestMain(m *testing.M) {
	code := stacktest.Main(m)
	// gorm's cache of prepared statements never ends its goroutine.
	leaked := stacktest.Leaks(goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
	if leaked != nil {
		fmt.Fprintln(os.Stderr, leaked)
		code = max(code, 1)
	}
	os.Exit(code)
}

// databaseURL is the URL of a fresh database, dropped when the test ends.
func databaseURL(t *testing.T) string {
	t.Helper()
	return stacktest.Database(t, stacktest.Shared(t))
}

// open connects to url, until the test ends.
func open(t *testing.T, url string, cfg *gorm.Config) *gorm.DB {
	t.Helper()
	if cfg == nil {
		cfg = &gorm.Config{}
	}
	if cfg.Logger == nil {
		cfg.Logger = logger.Discard
	}
	db, err := gorm.Open(postgres.Open(url), cfg)
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	return db
}

// migrated is a fresh database with Holdfast's tables and a table of orders.
func migrated(t *testing.T) (*gorm.DB, string) {
	t.Helper()
	url := databaseURL(t)
	db := open(t, url, nil)
	require.NoError(t, barrier.Migrate(t.Context(), db))
	require.NoError(t, db.Exec("CREATE TABLE orders (id text)").Error)
	return db, url
}

// orders counts the effects of a transaction.
func orders(t *testing.T, db *gorm.DB, id string) int {
	t.Helper()
	var n int
	require.NoError(t, db.Raw("SELECT count(*) FROM orders WHERE id = ?", id).Scan(&n).Error)
	return n
}

func placeOrder(tx *gorm.DB, id string) error {
	return tx.Exec("INSERT INTO orders VALUES (?)", id).Error
}

// placing is a local transaction whose effect is one order named id.
func placing(id string) func(context.Context, *gorm.DB, []*holdfast.Message) error {
	return func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error { return placeOrder(tx, id) }
}

func local(id string) barrier.Local {
	return barrier.Local{TxID: id, Group: group, Messages: []holdfast.Message{
		{ID: id, Topic: "order.placed", Key: "K-1", Body: []byte(`{"n":1}`), Headers: map[string]string{"a": "b"}},
	}}
}

// untilBlocked returns once n sessions of the database wait for a lock.
func untilBlocked(t *testing.T, db *gorm.DB, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		var waiting int
		require.NoError(t, db.WithContext(ctx).Raw(`SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting).Error)
		if waiting >= n {
			return
		}
	}
}

// requireRow asserts what the outcome row of id says.
func requireRow(t *testing.T, db *gorm.DB, id string, want holdfast.Resolution) barrier.Outcome {
	t.Helper()
	row, err := barrier.Read(t.Context(), db, id)
	require.NoError(t, err)
	require.Equal(t, want, row.Resolution)
	require.Equal(t, group, row.Group)
	require.WithinDuration(t, time.Now(), row.CreatedAt, time.Hour)
	return row
}

func requireNoRow(t *testing.T, db *gorm.DB, id string) {
	t.Helper()
	row, err := barrier.Read(t.Context(), db, id)
	require.ErrorIs(t, err, holdfast.ErrNotFound)
	require.Equal(t, holdfast.Unknown, row.Resolution)
}
