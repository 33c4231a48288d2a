package barrier

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/internal/guard"
)

// errEnded is about a caller's function that ended the transaction it was given.
var errEnded = errors.New("the function ended the transaction itself: leave COMMIT and ROLLBACK to Holdfast")

// errSwallowed is about a transaction in which a statement has failed, so that a
// COMMIT would be a ROLLBACK.
var errSwallowed = fmt.Errorf("COMMIT is not possible: %w: "+
	"a statement failed in the function, which did not return its error", pgx.ErrTxCommitRollback)

// errRowsOpen is about a connection on which COMMIT would do, which closes all rows,
// but no other statement.
var errRowsOpen = errors.New("the function has left rows of a query open, " +
	"and Holdfast has a statement to send before COMMIT: close them (rows.Close) before it returns")

// free returns an error unless a statement can be sent.
func (t *transaction) free() error {
	if t.watch.state().busy {
		return errRowsOpen
	}
	return nil
}

// States of a connection, as PostgreSQL tells them after each statement.
const (
	statusIdle   = 'I' // in no transaction
	statusOpen   = 'T' // in one
	statusFailed = 'E' // in one that can only be rolled back
)

// The mark of a transaction is a setting that ends with it, and whose changes
// PostgreSQL (14 and later) tells the client unasked. So the client knows without a
// round trip whether the connection is still in the transaction that was marked: a
// COMMIT or a ROLLBACK takes the mark away, also where a BEGIN follows. The setting
// is one for transactions to come; for the one that is open it means nothing. The same
// statement answers with its table's name and schema.
const (
	mark    = "default_transaction_read_only"
	setMark = ` RETURNING CASE set_config('` + mark +
		`', 'on', true) WHEN 'on' THEN (pg_identify_object(1259, tableoid, 0)).identity END`
)

// watch looks at the connection of a transaction, beside what the caller's function
// does on it. COMMIT is believed only while the connection is in the transaction that
// we began: a function may have sent a COMMIT or a ROLLBACK of its own, and a BEGIN
// after it.
type watch struct {
	conn *sql.Conn
	// marks: the mark can be seen on this connection.
	marks bool
}

// newWatch watches the transaction that was just begun on conn.
func newWatch(conn *sql.Conn) *watch {
	w := &watch{conn: conn}
	w.look(func(c *pgconn.PgConn) { w.marks = c.ParameterStatus(mark) == "off" })
	return w
}

// look calls f while nobody uses the connection.
func (w *watch) look(f func(c *pgconn.PgConn)) {
	_ = w.conn.Raw(func(c any) error {
		if c, ok := c.(*stdlib.Conn); ok {
			f(c.Conn().PgConn())
		}
		return nil
	})
}

// seen is what the watch sees of a connection. If it is neither idle nor ours, it may
// be in another transaction than the one that was begun.
type seen struct {
	idle   bool // it is in no transaction
	ours   bool // it is certainly in the one that was begun
	failed bool // it is in one in which a statement has failed
	busy   bool // it has not read all rows of a query
}

func (w *watch) state() (s seen) {
	if w == nil {
		return seen{}
	}
	w.look(func(c *pgconn.PgConn) {
		s.idle = c.TxStatus() == statusIdle && !c.IsClosed()
		s.ours = w.marks && c.TxStatus() == statusOpen && c.ParameterStatus(mark) == "on"
		s.failed = c.TxStatus() == statusFailed
		s.busy = c.IsBusy()
	})
	return s
}

// after calls the caller's function, in a goroutine of its own, and makes sure that what it did is in the
// transaction that was begun.
func (t *transaction) after(db *gorm.DB, f func() error) error {
	if err := guard.Call(f); poolerState(sqlState(err)) {
		return fmt.Errorf("%w (%s)", err, remedyOfPooler)
	} else if err != nil {
		return err
	}
	if err := t.ctx.Err(); err != nil { // the function took all the time there was
		return err
	}
	return t.intact(db)
}

// intact returns an error that wraps [errEnded] unless the connection is in the
// transaction that was begun. It costs a round trip where nobody watched, or where
// the watch cannot tell.
func (t *transaction) intact(db *gorm.DB) error {
	s := t.watch.state()
	switch {
	case s.idle:
		return errEnded
	case s.failed:
		return errSwallowed
	case s.ours, t.first == nil, plainSQL(db):
		return nil
	case s.busy:
		return errRowsOpen
	}
	// The row has the number of the transaction that wrote it last.
	query := `SELECT xmin::text = (txid_current() % 4294967296)::text FROM ` + t.first.table + ` WHERE ` + t.first.mine
	var mine bool
	err := plain(t.pool).QueryRowContext(t.ctx, query, t.first.args[:t.first.keys]...).Scan(&mine)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && !mine, errors.Is(err, sql.ErrTxDone):
		return errEnded
	case sqlState(err) == failedTransaction:
		return errSwallowed
	case err != nil:
		return explain(db, "see that the transaction is still open", err)
	}
	return nil
}

// plainSQL reports whether db is the testing kit's, which lacks PostgreSQL's
// functions. It refuses a COMMIT outside a transaction by itself.
func plainSQL(db *gorm.DB) bool {
	_, ok := db.Dialector.(interface{ WithoutFunctions() })
	return ok
}
