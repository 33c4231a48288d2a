package barrier

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

const (
	migrationTable = "holdfast_migrations"
	// migrationLock is the advisory lock's key: "holdfast" in ASCII.
	migrationLock = 0x686f6c6466617374
)

// Migrate creates Holdfast's tables, or brings them to this version, in the
// first schema of the connection's search_path. Applied migrations are
// remembered in the table holdfast_migrations. Several processes may migrate at
// once: one does, the others wait for it.
func Migrate(ctx context.Context, db *gorm.DB) error {
	p, err := migrations(db)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return explain(db, "migrate Holdfast's tables", err)
	}
	return nil
}

// Status returns the version of Holdfast's tables in the database, 0 if there
// are none, and the latest version that this program knows. It writes nothing.
func Status(ctx context.Context, db *gorm.DB) (current, latest int64, err error) {
	p, err := migrations(db)
	if err != nil {
		return 0, 0, err
	}
	sources := p.ListSources()
	latest = sources[len(sources)-1].Version
	const query = `SELECT coalesce(max(version_id), 0) FROM holdfast_migrations WHERE is_applied`
	err = plain(db.Statement.ConnPool).QueryRowContext(ctx, query).Scan(&current)
	if sqlState(err) == undefinedTable {
		return 0, latest, nil
	}
	if err != nil {
		return 0, latest, explain(db, "read the version of Holdfast's tables", err)
	}
	return current, latest, nil
}

// CheckMigrated returns an error that says what to do if Holdfast's tables are
// missing, or older than this program needs. Newer ones are no error, so that
// the tables can be migrated before the last old process is stopped.
func CheckMigrated(ctx context.Context, db *gorm.DB) error {
	current, latest, err := Status(ctx, db)
	if err != nil {
		return err
	}
	if current >= latest {
		return nil
	}
	problem := fmt.Errorf("tables of Holdfast are at version %d, this program needs %d", current, latest)
	if current == 0 {
		problem = errors.New("tables of Holdfast are not there")
	}
	return &holdfast.UnavailableError{Part: "PostgreSQL", Where: where(db, nil), Err: problem,
		Remedy: "run `holdfast migrate`, and see that the tables' schema is in the connection's search_path"}
}

func migrations(db *gorm.DB) (*goose.Provider, error) {
	if err := checkDB(db); err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("%w: migrations need a database/sql connection: %w", holdfast.ErrInvalid, err)
	}
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, pool, files,
		goose.WithTableName(migrationTable), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
}
