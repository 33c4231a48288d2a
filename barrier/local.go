package barrier

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// settleTimeout bounds how long Run tries to make a rollback known, after its
// context may be done. The lock timeout is what it waits for another run.
const (
	settleTimeout     = 3 * time.Second
	settleLockTimeout = time.Second
)

// Local is one local transaction to run.
type Local struct {
	// TxID is the transaction's ID. Required.
	TxID string
	// Group is the producer group that answers check-backs for it. Required.
	Group string
	// Messages are the messages as they are in the half message, with their IDs.
	Messages []holdfast.Message
	// MaxBody is the limit on the bodies of Messages together after the local
	// transaction changed them, in bytes; 0 means [holdfast.MaxBody].
	MaxBody int
	// Fits, if not nil, says whether changed messages could be published: an error
	// rolls back.
	Fits func([]holdfast.Message) error
	// Fresh says that TxID was made for this call of Run, and that nothing calls
	// Run for it again. A failure is then known to be Rollback, even if the
	// database cannot be reached. Otherwise another run of the same transaction
	// may have committed, or may yet: Run then makes the rollback known in an
	// outcome row, and answers Unknown if it cannot.
	Fresh bool
	// Keep stores the messages in the outcome row even if they are not changed. It
	// is for where another half message with this TxID may carry other messages:
	// what is delivered is then what committed, whichever is checked back.
	Keep bool
	// Options are the transaction's isolation level; nil means the database's
	// default.
	Options *sql.TxOptions
}

// Result says how a local transaction ended.
type Result struct {
	// Resolution is Commit, Rollback, or Unknown if the database has not said.
	Resolution holdfast.Resolution
	// Messages are the messages to deliver; nil unless Resolution is Commit.
	Messages []holdfast.Message
	// Changed says that the local transaction changed the messages, so that they
	// are stored in the outcome row.
	Changed bool
	// Err says why Resolution is Rollback or Unknown; it wraps the function's
	// error, and [holdfast.ErrUndecided] if Unknown.
	Err error
	// Repeated says that another run of this transaction is committed: this one
	// had no effect.
	Repeated bool
	// Other says that the run which is committed was given other messages: the ID was
	// used for something else.
	Other bool
}

// Run runs the local transaction l on db: BEGIN, the outcome row, fn, COMMIT.
//
// fn gets tx, a handle in the transaction bound to ctx, and clones of the
// messages, whose body, headers, key and content type it may change, for
// example to complete them with a generated number. Changed messages are stored
// in the outcome row, in the same transaction. fn must not end tx and should
// end when ctx is done; an error or a panic (see [holdfast.PanicError]) rolls
// back.
//
// A transaction is resolved once for all. If an earlier run is committed, Run
// answers Commit and does not call fn; if a check-back, an operator or an
// earlier run has rolled it back, it answers Rollback with
// [holdfast.ErrAlreadyResolved]. A COMMIT without an answer is Unknown:
// [CheckBack] decides. COMMIT is sent only while the connection is in the
// transaction that was begun: where fn ended that with SQL of its own, Run answers
// Rollback, or Unknown if the row is committed. db must not be in a transaction.
func Run(ctx context.Context, db *gorm.DB, l Local,
	fn func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error) Result {
	if err := cmp.Or(checkDB(db), l.validate()); err != nil {
		if l.Fresh {
			return rolledBack(err)
		}
		return l.unknown(err)
	}
	r, final := l.run(ctx, db, fn)
	if !final {
		return l.settle(ctx, db, r)
	}
	return r
}

func (l Local) validate() error {
	if l.Options != nil && l.Options.ReadOnly {
		return fmt.Errorf("%w: a read-only transaction cannot write its outcome row", holdfast.ErrInvalid)
	}
	return checkKey(l.TxID, l.Group)
}

// run answers Rollback whenever no COMMIT was sent. final is false if another
// run may have committed, or may yet.
func (l Local) run(ctx context.Context, db *gorm.DB,
	fn func(context.Context, *gorm.DB, []*holdfast.Message) error) (r Result, final bool) {
	first := outcomeRow(l.TxID, l.Group, holdfast.Commit, l.Messages)
	if l.Fresh {
		first.query = insertFresh
	}
	t, err := begin(ctx, db, l.Options, first)
	if err != nil {
		return rolledBack(explain(db, "begin the local transaction "+l.TxID, err)), l.Fresh
	}
	row, inserted, err := insertOrRead(t.ctx, t.pool, first, l.TxID, l.Group, holdfast.Commit)
	if err != nil {
		t.rollback()
		if l.Fresh && sqlState(err) == uniqueViolation {
			if row, err = readOf(ctx, db.Statement.ConnPool, l.TxID, l.Group); err == nil {
				return l.follow(row), true
			}
		}
		return l.notInserted(explain(db, "insert the outcome row of transaction "+l.TxID, err))
	}
	if !inserted {
		t.rollback()
		return l.follow(row), true
	}
	var ms []holdfast.Message
	var changed bool
	err = t.call(func() (err error) {
		ms, changed, err = l.call(t, db, fn)
		return err
	})
	if err == nil {
		err = t.ctx.Err() // COMMIT is not sent yet: this is the last certain moment
	}
	if err != nil {
		return l.undo(ctx, t, db, err)
	}
	return l.commit(t, db, ms, changed)
}

// undo rolls a run back after an error of the caller's function. A function may
// have sent a COMMIT or a ROLLBACK of its own before: where that was so, or cannot be
// told from the connection, the row says what became of it.
func (l Local) undo(ctx context.Context, t *transaction, db *gorm.DB, err error) (r Result, final bool) {
	seen := t.watch.state()
	if !t.rollback() || seen.idle {
		err = asEnded(err)
	}
	switch {
	case !l.Fresh || errors.Is(err, errEnded):
		return rolledBack(err), false
	case seen.ours || plainSQL(db):
		return rolledBack(err), true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	switch _, reading := read(ctx, db.Statement.ConnPool, l.TxID); {
	case errors.Is(reading, sql.ErrNoRows):
		return rolledBack(err), true // it never comes: this was its only run
	case reading == nil:
		err = asEnded(err)
	}
	return rolledBack(err), false
}

// asEnded adds to an error that the function ended its transaction.
func asEnded(err error) error {
	if errors.Is(err, errEnded) {
		return err
	}
	return fmt.Errorf("%w: %w", errEnded, err)
}

// notInserted answers for a run whose outcome row was neither inserted nor
// followed.
func (l Local) notInserted(err error) (Result, bool) {
	if row := (*rowError)(nil); errors.As(err, &row) {
		return l.unknown(err), true
	}
	// Another transaction may have the key if it was the statement that failed,
	// not the database: a lock timeout, or a serialization failure, which is how
	// a stricter isolation level says that there is a row it cannot see.
	return rolledBack(err), l.Fresh && remedyFor(err) != ""
}

// call runs fn on clones of the messages, and stores what it changed.
func (l Local) call(t *transaction, db *gorm.DB,
	fn func(context.Context, *gorm.DB, []*holdfast.Message) error) ([]holdfast.Message, bool, error) {
	ms := holdfast.CloneMessages(l.Messages)
	given := make([]*holdfast.Message, len(ms))
	for i := range ms {
		given[i] = &ms[i]
	}
	if err := t.after(db, func() error { return fn(t.ctx, t.gorm(db), given) }); err != nil {
		return nil, false, err
	}
	for i, m := range given {
		if m == nil {
			return nil, false, fmt.Errorf("%w: the local transaction %s made message %d nil", holdfast.ErrInvalid, l.TxID, i+1)
		}
		ms[i] = *m
	}
	changed, err := l.changed(ms)
	if err != nil || !changed && !l.Keep {
		return ms, false, err
	}
	if err := t.free(); err != nil {
		return nil, false, err
	}
	return ms, changed, store(t.ctx, db, t.pool, t.first.table, l.TxID, ms)
}

// changed reports whether ms differ from the half message's, and refuses
// changes that are not allowed.
func (l Local) changed(ms []holdfast.Message) (bool, error) {
	changed := false
	for i, m := range ms {
		was := l.Messages[i]
		var what string
		switch {
		case m.ID != was.ID:
			what = "ID"
		case m.Topic != was.Topic:
			what = "Topic"
		case m.AllowUnrouted != was.AllowUnrouted:
			what = "AllowUnrouted"
		}
		if what != "" {
			return false, fmt.Errorf("%w: the local transaction %s changed %s of message %d: "+
				"only Body, Headers, Key, ContentType and the properties from Type to TTL may be changed",
				holdfast.ErrInvalid, l.TxID, what, i+1)
		}
		changed = changed || !m.Equal(was)
	}
	if !changed {
		return false, nil
	}
	if err := holdfast.ValidateMessages(ms, l.MaxBody); err != nil || l.Fits == nil {
		return true, err
	}
	return true, l.Fits(ms)
}

func (l Local) commit(t *transaction, db *gorm.DB, ms []holdfast.Message, changed bool) (Result, bool) {
	err := t.commit()
	switch {
	case err == nil:
		fault.Point(fault.LocalAfterCommit)
		return Result{Resolution: holdfast.Commit, Messages: ms, Changed: changed}, true
	case errors.Is(err, sql.ErrTxDone) && t.ctx.Err() == nil:
		return rolledBack(fmt.Errorf("%w: %w", errEnded, err)), false
	case errors.Is(err, pgx.ErrTxCommitRollback):
		err = fmt.Errorf("%w: a statement failed in the function, which did not return its error", err)
		fallthrough
	case commitFailed(err) == holdfast.Rollback:
		return rolledBack(fmt.Errorf("COMMIT of the local transaction %s was refused: %w", l.TxID, err)), l.Fresh
	}
	return l.unknown(explain(db, "COMMIT of the local transaction "+l.TxID+" was not answered", err)), true
}

// settle makes the rollback of a run the truth about the transaction, unless
// another run has committed it.
func (l Local) settle(ctx context.Context, db *gorm.DB, r Result) Result {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	row, err := decide(ctx, db, l.TxID, l.Group, holdfast.Rollback, settleLockTimeout)
	if err != nil {
		return l.unknown(fmt.Errorf("%w (and whether another run is committed could not be found out: %w)", r.Err, err))
	}
	switch {
	case row.Resolution != holdfast.Commit:
		return r
	case l.Fresh && !errors.Is(r.Err, errEnded):
		r.Err = fmt.Errorf("%w: %w", errEnded, r.Err)
		fallthrough
	case errors.Is(r.Err, errEnded): // the function committed it, or an earlier run
		return l.unknown(fmt.Errorf("%w; its outcome row is committed, "+
			"so its messages are delivered as the half message has them", r.Err))
	}
	return l.follow(row)
}

// follow answers what the row says.
func (l Local) follow(row Outcome) Result {
	switch {
	case row.Resolution == holdfast.Rollback:
		return rolledBack(alreadyRolledBack(l.TxID))
	case row.Messages != nil:
		return Result{Resolution: holdfast.Commit, Messages: row.Messages,
			Changed: true, Repeated: true, Other: l.isOther(row)}
	}
	return Result{Resolution: holdfast.Commit, Messages: holdfast.CloneMessages(l.Messages),
		Repeated: true, Other: l.isOther(row)}
}

// isOther reports whether the row is that of a run with other messages. Rows of earlier
// versions do not say.
func (l Local) isOther(row Outcome) bool {
	return row.digest != nil && !bytes.Equal(row.digest, digestOf(l.Messages))
}

func (l Local) unknown(err error) Result {
	return Result{Err: fmt.Errorf("%w: transaction %s: %w", holdfast.ErrUndecided, l.TxID, err)}
}

func rolledBack(err error) Result {
	return Result{Resolution: holdfast.Rollback, Err: err}
}
