package barrier

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"
)

// statement is the first one of a transaction: it inserts the row that makes the
// transaction happen once.
type statement struct {
	query string
	args  []any

	// mine is the condition by which to find that row again: its key, whose values
	// are the first args.
	mine string
	keys int

	// table is where the row is, with its schema once that is known: the caller's
	// function may set a search_path of its own.
	table string
	// marked: the statement marks its transaction, and tells the table.
	marked bool
}

func (s *statement) exec(ctx context.Context, pool gorm.ConnPool) (int64, error) {
	if !s.marked {
		return exec(ctx, pool, s.query, s.args...)
	}
	switch err := plain(pool).QueryRowContext(ctx, s.query, s.args...).Scan(&s.table); {
	case errors.Is(err, sql.ErrNoRows):
		return 0, nil // it has inserted nothing
	case err != nil:
		return 0, err
	}
	return 1, nil
}

// marks makes the statement mark its transaction, if it inserts its row.
func (s *statement) marks() {
	s.marked = true
	switch s.query {
	case insertOutcome:
		s.query = insertOutcome + setMark
	case insertFresh:
		s.query = insertFresh + setMark
	case insertInbox:
		s.query = insertInbox + setMark
	case insertStep:
		s.query = insertStep + setMark
	case insertStepRow:
		s.query = insertStepRow + setMark
	case insertBegin:
		s.query = insertBegin + setMark
	}
}

// watchable returns the pool beneath gorm's, if a transaction of it can be watched:
// it is one of pgx's own driver.
func watchable(pool gorm.ConnPool) (*sql.DB, bool) {
	db, ok := plain(pool).(*sql.DB)
	if !ok {
		return nil, false
	}
	_, ok = db.Driver().(*stdlib.Driver)
	return db, ok
}

// beginWatched begins a transaction of the application's own pool, as [sql.DB.BeginTx]
// does, on a connection that can be looked at beside it.
func beginWatched(ctx context.Context, db *sql.DB, opts *sql.TxOptions) (*sql.Tx, *watch, error) {
	for try := 1; ; try++ {
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, nil, err
		}
		tx, err := conn.BeginTx(ctx, opts)
		if err == nil {
			return tx, newWatch(conn), nil
		}
		_ = conn.Close()
		// The server has closed it since it was used last.
		if stale := errors.Is(err, driver.ErrBadConn) || pgconn.SafeToRetry(err); !stale || try > maxStale {
			return nil, nil, err
		}
	}
}

// maxStale is how many connections that turn out to be closed are tried before
// [beginWatched] gives up: what database/sql itself does.
const maxStale = 2
