package doctest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestSchemaPage: docs/schema.md has the tables and columns of a migrated database,
// with their types, in their order, and no others.
func TestSchemaPage(t *testing.T) {
	t.Parallel()
	db := migrate(t, stacktest.Database(t, stacktest.Shared(t)))
	var rows []struct{ Name, Columns string }
	require.NoError(t, db.Raw(`SELECT table_name AS name, string_agg(column_name || ' ' || data_type, ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.columns WHERE table_name LIKE 'holdfast%' GROUP BY table_name`).Scan(&rows).Error)
	real := map[string]string{}
	for _, r := range rows {
		short := strings.NewReplacer("timestamp with time zone", "timestamptz", "timestamp without time zone", "timestamp")
		real[r.Name] = short.Replace(r.Columns)
	}
	require.Equal(t, real, tablesOf(readFile(t, "docs/schema.md")))
}

var (
	sectionHead = regexp.MustCompile(`(?m)^## `)
	columnRow   = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|")
)

// tablesOf are a page's tables, each with its columns and their types.
func tablesOf(page string) map[string]string {
	tables := map[string]string{}
	for _, section := range sectionHead.Split(page, -1) {
		name, text, _ := strings.Cut(section, "\n")
		if !strings.HasPrefix(name, "holdfast_") {
			continue
		}
		var columns []string
		for _, row := range columnRow.FindAllStringSubmatch(text, -1) {
			columns = append(columns, row[1]+" "+row[2])
		}
		tables[name] = strings.Join(columns, ", ")
	}
	return tables
}

// migrate makes Holdfast's tables in a database, and opens it until the end of the test.
func migrate(t *testing.T, database string) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(database), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
	})
	require.NoError(t, barrier.Migrate(t.Context(), db))
	return db
}
