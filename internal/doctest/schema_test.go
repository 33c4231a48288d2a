package doctest

import (
	"crypto/rand"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/grants"
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

// TestRights: with the rights that docs/schema.md grants, a process's role does its work and has
// nothing to do with the audit, and the console's role adds to that and changes nothing.
func TestRights(t *testing.T) {
	t.Parallel()
	db := migrate(t, stacktest.Database(t, stacktest.Shared(t)))
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1) // SET ROLE is the connection's
	_, block, found := strings.Cut(readFile(t, "docs/schema.md"), "```sql\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	require.True(t, strings.HasPrefix(block, strings.Join(grants.Statements("public", "orders"), "\n")+"\n\n"),
		"the first part is what `holdfast migrate --print-grants orders` prints")
	name := "rights_" + strings.ToLower(rand.Text()[:12])
	process, console := name+"_process", name+"_console"
	block = regexp.MustCompile(`\borders\b`).ReplaceAllString(block, process)
	block = regexp.MustCompile(`\bholdfast_console\b`).ReplaceAllString(block, console)
	do := func(statement string) error { return db.Exec(statement).Error }
	for _, role := range []string{process, console} {
		require.NoError(t, do("CREATE ROLE "+role))
		// What an operator may have granted before he read the page.
		require.NoError(t, do("GRANT ALL ON holdfast_audit TO "+role))
		t.Cleanup(func() {
			_ = do("RESET ROLE")
			_ = do("DROP OWNED BY " + role)
			_ = do("DROP ROLE " + role)
		})
	}
	require.NoError(t, do(block))

	require.NoError(t, do("SET ROLE "+process))
	for table := range tablesOf(readFile(t, "docs/schema.md")) {
		for _, right := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
			var has bool
			require.NoError(t, db.Raw("SELECT has_table_privilege(?, ?)", table, right).Scan(&has).Error)
			want := table != "holdfast_audit" && (right == "SELECT" || table != "holdfast_identity" && table != "holdfast_migrations")
			require.Equal(t, want, has, "%s on %s", right, table)
		}
	}
	require.NoError(t, do("SET ROLE "+console))
	const add = `INSERT INTO holdfast_audit (prefix, request, operator, role, action, target, step, reason, outcome, detail)
VALUES ('p', '', 'ann', 'operator', 'login', '', '', '', 'done', '')`
	require.NoError(t, do(add))
	for _, change := range []string{"UPDATE holdfast_audit SET operator = 'bob'", "DELETE FROM holdfast_audit",
		"TRUNCATE holdfast_audit", "DROP TABLE holdfast_audit"} {
		require.Error(t, do(change), change)
	}
	for table := range tablesOf(readFile(t, "docs/schema.md")) {
		require.NoError(t, do("SELECT * FROM "+table), table)
	}
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
