package doctor

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// oldestPostgreSQL is the oldest version that Holdfast works with.
const oldestPostgreSQL = 12

func examinePostgreSQL(ctx context.Context, c *reach.Config, _ Examination) []Finding {
	f := Findings{Suggester: c.Suggester(), part: "PostgreSQL"}
	db, closeDB, err := c.Database()
	if err != nil {
		f.unreached(err, "set DATABASE_URL; --skip postgresql if nothing uses a database")
		return f.All
	}
	defer closeDB()
	current, latest, err := barrier.Status(ctx, db)
	if err != nil {
		f.unreached(err, "see that it runs, and check DATABASE_URL")
		return f.All
	}
	f.ok("connection", "reached")
	f.postgresVersion(ctx, db)
	f.pooler(ctx, db, c.DatabaseURL)
	switch {
	case current == 0:
		f.add(text.LevelProblem, "tables", "run `holdfast migrate`, and see that the tables' schema is in the search_path",
			"Holdfast's tables are not there")
	case current < latest:
		f.add(text.LevelProblem, "tables", "run `holdfast migrate`", "at version %d, this program needs %d", current, latest)
	case current > latest:
		f.add(text.LevelWarning, "tables", "use a newer program", "at version %d, newer than this program's %d",
			current, latest)
	default:
		f.ok("tables", "at version %d: up to date", current)
	}
	if current >= latest {
		f.identity(ctx, db)
		f.rights(ctx, db)
	}
	f.settings(ctx, db)
	f.databaseClock(ctx, db, c.Clock)
	return f.All
}

func (f *Findings) postgresVersion(ctx context.Context, db *gorm.DB) {
	var row struct {
		Num     int
		Version string
	}
	err := db.WithContext(ctx).Raw("SELECT current_setting('server_version_num')::int AS num, " +
		"current_setting('server_version') AS version").Scan(&row).Error
	switch {
	case err != nil:
		f.add(text.LevelWarning, "version", "", "unknown: %s", text.Of(err))
	case row.Num/10000 < oldestPostgreSQL:
		f.add(text.LevelProblem, "version", "upgrade to PostgreSQL 12 or later", "%s", row.Version)
	default:
		f.ok("version", "%s", strings.Fields(row.Version + " ")[0])
	}
}

// pooler says whether a pooler is between the database and who uses the same URL.
func (f *Findings) pooler(ctx context.Context, db *gorm.DB, database string) {
	p, err := barrier.FindPooler(ctx, db)
	mode := "cache_statement" // pgx's own default
	if cfg, err := pgx.ParseConfig(database); err == nil {
		mode = cfg.DefaultQueryExecMode.String()
	}
	switch {
	case err != nil:
		f.add(text.LevelWarning, "pooler", "", "unknown: %s", text.Of(err))
	case !p.There:
	case !p.Transactions:
		f.ok("pooler", "one is between, and gives each session a connection of its own")
	case !p.Mixes:
		f.ok("pooler", "one is between, of transactions, which knows prepared statements")
	case mode == "exec", mode == "simple protocol", mode == "cache describe":
		f.ok("pooler", "one is between, of transactions; with %s, as DATABASE_URL says, that is well, but do not use "+
			"gorm's PrepareStmt", mode)
	default:
		f.add(text.LevelProblem, "pooler", "add default_query_exec_mode=exec to DATABASE_URL and to the processes' URLs, "+
			"and do not use gorm's PrepareStmt; or let it pool sessions",
			"one is between, of transactions (as pgbouncer's pool_mode=transaction): a process with this URL prepares "+
				"statements, which other connections then miss or meet")
	}
}

// unreached adds the problem that a part cannot be reached. An error that knows
// its own remedy keeps it.
func (f *Findings) unreached(err error, remedy string) {
	detail, own := text.SplitRemedy(err)
	if own != "" {
		remedy = own
	}
	f.add(text.LevelProblem, "connection", remedy, "%s", detail)
}
