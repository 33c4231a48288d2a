package barrier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
)

// rollbackTimeout bounds a ROLLBACK on a connection that does not answer. After
// it the connection is closed, and the server rolls back by itself.
const rollbackTimeout = 5 * time.Second

// transaction is a database transaction that ends only when asked to: not when
// the context is done, as one of database/sql would. If it is found ended, then
// the caller's function has ended it.
type transaction struct {
	ctx    context.Context // the caller's: for statements, and for COMMIT
	pool   gorm.ConnPool
	end    gorm.TxCommitter
	cancel context.CancelFunc // closes the connection, if still in use
	stop   context.CancelFunc // of ctx's own timeout
	first  *statement         // the row that is this transaction's; nil: it has none to show
	watch  *watch             // of the connection; nil: nobody watches
}

// begin sends BEGIN; first is the statement that is to follow, nil where no function
// of the caller's will. The context bounds it, and each statement and the COMMIT later.
func begin(ctx context.Context, db *gorm.DB, opts *sql.TxOptions, first *statement) (*transaction, error) {
	stop := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok && db.DefaultTransactionTimeout > 0 {
		ctx, stop = context.WithTimeout(ctx, db.DefaultTransactionTimeout)
	}
	if err := ctx.Err(); err != nil { // the database had no part in it
		stop()
		return nil, &lateError{err}
	}
	connCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &transaction{ctx: ctx, cancel: cancel, stop: stop, first: first}
	unhook := context.AfterFunc(ctx, cancel)
	err := t.open(connCtx, db.Statement.ConnPool, opts)
	if err == nil && t.end == nil {
		err = fmt.Errorf("%w: this gorm connection cannot begin transactions", holdfast.ErrInvalid)
	}
	if !unhook() {
		if err == nil {
			t.rollback()
		}
		err = ctx.Err()
	}
	if err != nil {
		t.release()
		return nil, err
	}
	return t, nil
}

// lateError is of a caller that came when its time was over.
type lateError struct{ err error }

func (e *lateError) Error() string { return e.err.Error() }
func (e *lateError) Unwrap() error { return e.err }

// open begins the transaction, on the pool that the application's own would be on.
func (t *transaction) open(ctx context.Context, pool gorm.ConnPool, opts *sql.TxOptions) (err error) {
	var tx *sql.Tx
	if db, ok := watchable(pool); ok && t.first != nil {
		if tx, t.watch, err = beginWatched(ctx, db, opts); err != nil {
			return err
		}
		if t.watch.marks {
			t.first.marks()
		}
		t.pool, t.end = tx, tx
		if prepared, ok := pool.(*gorm.PreparedStmtDB); ok {
			t.pool = &gorm.PreparedStmtTX{PreparedStmtDB: prepared, Tx: tx} // as its own BeginTx does
		}
		return nil
	}
	switch b := pool.(type) {
	case gorm.TxBeginner:
		if tx, err = b.BeginTx(ctx, opts); err == nil {
			t.pool, t.end = tx, tx
		}
	case gorm.ConnPoolBeginner:
		if t.pool, err = b.BeginTx(ctx, opts); err == nil {
			t.end, _ = t.pool.(gorm.TxCommitter)
		}
	}
	return err
}

// gorm returns a handle in the transaction, with the configuration of db.
func (t *transaction) gorm(db *gorm.DB) *gorm.DB {
	tx := db.WithContext(t.ctx)
	tx.Statement.ConnPool = t.pool
	return tx
}

// call runs the caller's function. A panic becomes a [holdfast.PanicError]; a
// goroutine that exits leaves the transaction rolled back.
func (t *transaction) call(f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			err = guard.Panicked(v)
			return
		}
		t.rollback() // runtime.Goexit: nobody will see err
	}()
	err = f()
	returned = true
	return err
}

// commit sends COMMIT.
func (t *transaction) commit() error {
	defer t.release()
	unhook := context.AfterFunc(t.ctx, t.cancel)
	defer unhook()
	err := t.end.Commit()
	if err != nil && t.ctx.Err() != nil && !errors.Is(err, t.ctx.Err()) {
		err = fmt.Errorf("%w: %w", t.ctx.Err(), err)
	}
	return err
}

// rollback ends the transaction without COMMIT, whether or not the server
// hears of it. It reports false if the transaction had been ended before, so
// that nobody can say how.
func (t *transaction) rollback() bool {
	defer t.release()
	timer := time.AfterFunc(rollbackTimeout, t.cancel)
	defer timer.Stop()
	return !errors.Is(t.end.Rollback(), sql.ErrTxDone)
}

// release gives the connection back.
func (t *transaction) release() {
	t.cancel()
	t.stop()
	if t.watch != nil {
		_ = t.watch.conn.Close() // the second time it says that it is closed
	}
}

// checkDB refuses handles on which a transaction cannot be begun.
func checkDB(db *gorm.DB) error {
	switch {
	case db == nil || db.Statement == nil:
		return fmt.Errorf("%w: the gorm database is nil", holdfast.ErrInvalid)
	case db.Name() != "postgres":
		return fmt.Errorf("%w: the gorm database is %q: PostgreSQL is needed", holdfast.ErrInvalid, db.Name())
	case db.DryRun:
		return fmt.Errorf("%w: the gorm database is in DryRun mode: nothing would be written", holdfast.ErrInvalid)
	case inTransaction(db):
		return fmt.Errorf("%w: the gorm database is in a transaction already: pass the *gorm.DB that it was begun on",
			holdfast.ErrInvalid)
	}
	return nil
}

// checkTx refuses handles that are not in a transaction.
func checkTx(tx *gorm.DB) error {
	switch {
	case tx == nil || tx.Statement == nil:
		return fmt.Errorf("%w: the gorm transaction is nil", holdfast.ErrInvalid)
	case !inTransaction(tx):
		return fmt.Errorf("%w: the gorm database is not in a transaction: pass what Begin or Transaction gave",
			holdfast.ErrInvalid)
	}
	return nil
}

func inTransaction(db *gorm.DB) bool {
	committer, ok := db.Statement.ConnPool.(gorm.TxCommitter)
	return ok && committer != nil
}

// plain returns the pool beneath gorm's cache of prepared statements.
func plain(pool gorm.ConnPool) gorm.ConnPool {
	switch p := pool.(type) {
	case *gorm.PreparedStmtTX:
		return p.Tx
	case *gorm.PreparedStmtDB:
		return p.ConnPool
	}
	return pool
}

// exec runs one statement and returns the number of rows it touched.
func exec(ctx context.Context, pool gorm.ConnPool, query string, args ...any) (int64, error) {
	res, err := plain(pool).ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
