package barrier

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"
)

// statement is the first one of a transaction.
type statement struct {
	query string
	args  []any

	sent bool  // together with BEGIN
	n    int64 // rows that it touched; valid if sent
	err  error // or why it failed; likewise
}

// exec returns what came of the statement, and sends it if that is still to do.
func (s *statement) exec(ctx context.Context, pool gorm.ConnPool) (int64, error) {
	if s.sent {
		return s.n, s.err
	}
	return exec(ctx, pool, s.query, s.args...)
}

// pipelines reports whether BEGIN and the first statement can go to the server in
// one round trip: with pgx's own driver, and without prepared statements, which
// belong to the sql.DB that they were made on.
func pipelines(pool gorm.ConnPool) (*sql.DB, bool) {
	db, ok := pool.(*sql.DB)
	if !ok {
		return nil, false
	}
	_, ok = db.Driver().(*stdlib.Driver)
	return db, ok
}

// beginWith begins a transaction on a connection of db, and sends first with it.
// The transaction is one of database/sql's like any other, but for the sql.DB that
// it belongs to: one for this transaction only, whose connection is db's.
func beginWith(ctx context.Context, db *sql.DB, first *statement) (*sql.Tx, error) {
	own := sql.OpenDB(lender{db, first})
	defer func() { _ = own.Close() }() // the transaction keeps its connection to the end
	return own.BeginTx(ctx, nil)
}

// lender takes a connection from a pool.
type lender struct {
	from  *sql.DB
	first *statement
}

func (l lender) Driver() driver.Driver { return l.from.Driver() }

func (l lender) Connect(ctx context.Context) (driver.Conn, error) {
	of, err := l.from.Conn(ctx)
	if err != nil {
		return nil, err
	}
	lent := &loan{of: of, first: l.first}
	// Nobody else uses it until it is given back.
	err = of.Raw(func(c any) error {
		var ok bool
		if lent.Conn, ok = c.(*stdlib.Conn); !ok {
			return errors.New("the connection is not pgx's")
		}
		return nil
	})
	if err != nil {
		_ = of.Close()
		return nil, err
	}
	return lent, nil
}

// loan is a pool's connection, for one transaction.
type loan struct {
	*stdlib.Conn
	of    *sql.Conn
	first *statement
}

// Close gives the connection back. One that is closed, or still in a transaction,
// the pool does not use again.
func (l *loan) Close() error { return l.of.Close() }

// BeginTx sends BEGIN and the first statement. An error is BEGIN's.
func (l *loan) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	conn := l.Conn.Conn()
	if conn.IsClosed() {
		return nil, driver.ErrBadConn
	}
	var both pgx.Batch
	both.Queue("begin")
	both.Queue(l.first.query, l.first.args...)
	results := conn.SendBatch(ctx, &both)
	_, err := results.Exec()
	if err == nil {
		var tag pgconn.CommandTag
		tag, l.first.err = results.Exec()
		l.first.sent, l.first.n = true, tag.RowsAffected()
	}
	if closing := results.Close(); l.first.sent && l.first.err == nil {
		l.first.err = closing
	}
	switch {
	case err == nil:
		return loanTx{ctx, conn}, nil
	case pgconn.SafeToRetry(err):
		return nil, driver.ErrBadConn
	}
	return nil, err
}

// loanTx ends the transaction as pgx does.
type loanTx struct {
	ctx  context.Context
	conn *pgx.Conn
}

func (t loanTx) Commit() error {
	tag, err := t.conn.Exec(t.ctx, "commit")
	switch {
	case err != nil:
		if t.conn.PgConn().TxStatus() != 'I' {
			_ = t.conn.Close(t.ctx) // the first error is the one to know
		}
		return err
	case tag.String() == "ROLLBACK":
		return pgx.ErrTxCommitRollback
	}
	return nil
}

func (t loanTx) Rollback() error {
	_, err := t.conn.Exec(t.ctx, "rollback")
	if err != nil {
		_ = t.conn.Close(t.ctx) // the server rolls back by itself
	}
	return err
}
