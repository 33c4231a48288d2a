package holdfasttest

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gosqlite "github.com/glebarez/go-sqlite"
	"github.com/glebarez/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// NewDB returns an empty database in memory with Holdfast's tables, which lives
// until the test ends. Create your own in it with AutoMigrate.
//
// It is SQLite, and passes for PostgreSQL: what gorm writes works in it, and so do
// $1, ON CONFLICT, RETURNING and now(), which is when the test program began. SQL
// that only PostgreSQL understands does not: give [Options] a PostgreSQL of yours
// for that. It has one connection: what a function that gets a tx writes with the
// database itself is an error.
func NewDB(t testing.TB) *gorm.DB {
	t.Helper()
	functions()
	dsn := fmt.Sprintf("file:/holdfasttest-%d?vfs=memdb&_pragma=foreign_keys(1)", databases.Add(1))
	keeper, pool := connect(t, dsn), connect(t, dsn)
	if err := keeper.Ping(); err != nil {
		t.Fatalf("open a database in memory: %v", err)
	}
	db, err := gorm.Open(dialector{sqlite.Dialector{Conn: pool}}, &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatalf("open a database in memory: %v", err)
	}
	if err := db.Use(oneConnection{pool}); err != nil {
		t.Fatalf("open a database in memory: %v", err)
	}
	for _, table := range tables {
		if err := db.Exec(table).Error; err != nil {
			t.Fatalf("create Holdfast's tables: %v", err)
		}
	}
	return db
}

// connect opens one connection. The database lives as long as any: another one
// than that of the tests holds it, since database/sql closes a connection whose
// transaction was cancelled.
func connect(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	pool, err := sql.Open(sqlite.DriverName, dsn)
	if err != nil {
		t.Fatalf("open a database in memory: %v", err)
	}
	pool.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// databases numbers the databases of the process.
var databases atomic.Int64

// dialector is SQLite under the name that package barrier asks for.
type dialector struct{ sqlite.Dialector }

// Name is what gorm calls the database.
func (dialector) Name() string { return "postgres" }

// WithoutFunctions says that it lacks the functions that barrier's migrations
// create.
func (dialector) WithoutFunctions() {}

// tables are barrier/migrations for SQLite; a test compares the two.
var tables = []string{
	`CREATE TABLE holdfast_outcomes (
		tx_id          text     NOT NULL PRIMARY KEY,
		producer_group text     NOT NULL,
		resolution     text     NOT NULL CHECK (resolution IN ('commit', 'rollback')),
		messages       blob,
		created_at     datetime NOT NULL DEFAULT (now()),
		digest         blob
	)`,
	`CREATE TABLE holdfast_inbox (
		consumer   text     NOT NULL,
		message_id text     NOT NULL,
		created_at datetime NOT NULL DEFAULT (now()),
		PRIMARY KEY (consumer, message_id)
	)`,
	`CREATE TABLE holdfast_steps (
		owner      text     NOT NULL,
		step       text     NOT NULL,
		op         text     NOT NULL CHECK (op IN ('do', 'undo')),
		result     blob,
		created_at datetime NOT NULL DEFAULT (now()),
		PRIMARY KEY (owner, step, op)
	)`,
	`CREATE TABLE holdfast_identity (
		one        boolean  NOT NULL DEFAULT true PRIMARY KEY CHECK (one),
		id         text     NOT NULL CHECK (id <> ''),
		created_at datetime NOT NULL DEFAULT (now())
	)`,
}

// functions makes PostgreSQL's functions that package barrier uses. The driver
// keeps them for the whole program; if it has such a function already, that one
// stays.
var functions = sync.OnceFunc(func() {
	began := time.Now().UTC().Format("2006-01-02 15:04:05.999999999-07:00")
	_ = gosqlite.RegisterDeterministicScalarFunction("now", 0,
		func(*gosqlite.FunctionContext, []driver.Value) (driver.Value, error) {
			return began, nil
		})
	_ = gosqlite.RegisterDeterministicScalarFunction("set_config", 3,
		func(_ *gosqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
			return args[1], nil // there is nobody to wait for
		})
})
