package barriertest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/internal/barriertest"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

func TestInMemory(t *testing.T) {
	barriertest.Run(t, func(t *testing.T) *gorm.DB { return holdfasttest.NewDB(t) })
}

func TestPostgreSQL(t *testing.T) {
	db := migrated(t, stacktest.Database(t, stacktest.Shared(t)))
	barriertest.Run(t, func(t *testing.T) *gorm.DB {
		require.NoError(t, db.Exec("TRUNCATE holdfast_outcomes, holdfast_inbox, holdfast_steps").Error)
		require.NoError(t, db.Exec("DROP TABLE IF EXISTS effects").Error)
		return db
	})
}

func migrated(t *testing.T, url string) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	require.NoError(t, barrier.Migrate(t.Context(), db))
	return db
}

// column is what both databases say of a column.
type column struct {
	TableName, ColumnName string
	NotNull, HasDefault   bool
}

// The database in memory has the tables of the migrations, but for the one that is
// about RabbitMQ's queues.
func TestTables(t *testing.T) {
	var want, got []column
	require.NoError(t, migrated(t, stacktest.Database(t, stacktest.Shared(t))).Raw(`SELECT table_name, column_name, is_nullable = 'NO' AS not_null, column_default IS NOT NULL AS has_default
		FROM information_schema.columns WHERE table_schema = current_schema() AND table_name LIKE 'holdfast%' AND table_name NOT IN ('holdfast_migrations', 'holdfast_consumers', 'holdfast_audit')
		ORDER BY table_name, ordinal_position`).Scan(&want).Error)
	require.NoError(t, holdfasttest.NewDB(t).Raw(`SELECT m.name AS table_name, c.name AS column_name, c."notnull" AS not_null, c.dflt_value IS NOT NULL AS has_default
		FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name LIKE 'holdfast%' ORDER BY m.name, c.cid`).Scan(&got).Error)
	require.NotEmpty(t, want)
	require.Equal(t, want, got)
}
