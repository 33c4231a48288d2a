package barrier

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// FirstSteps are the local steps that a saga of the Express lane begins with, while they are
// done in one transaction.
type FirstSteps struct {
	t     *transaction
	db    *gorm.DB
	begin *statement
	owner string
	claim StepClaim
	rows  []any // of the steps that were begun: each one's name, and what its row is to say
}

// insertBegin is for the begin row of a saga of which there is no row.
const insertBegin = `INSERT INTO ` + stepsTable + ` (owner, step, op, result) ` +
	`SELECT $1::text, $2::text, $3::text, $4::bytea ` +
	`WHERE NOT EXISTS (SELECT 1 FROM ` + stepsTable + ` WHERE owner = $1) ON CONFLICT (owner, step, op) DO NOTHING`

// errThere rolls back steps of which one has a row by now.
var errThere = errors.New("a step has a row of another")

// ErrInDoubt means that it is not known whether [DoFirst] has committed: the rows tell.
var ErrInDoubt = errors.New("it may have been committed")

// DoFirst begins a saga, which b.Holder drives, and does its first steps, all in one
// transaction: run does them by [FirstSteps.Do]. last, if not empty, is all that is known of
// the saga where it has completed with them; its begin row says so then.
//
// The begin row comes first. The rows of the steps are the last statement, since until COMMIT
// nobody sees them, and each statement costs as much as a step's own.
//
// It is all or nothing: an error of run rolls everything back, so that the steps can be done
// one by one with [DoStep]. did is false, and nothing is done, where the saga has a row already,
// or has got one of these steps' meanwhile: they have to be looked at one by one. After an error
// of COMMIT, and where a step has ended the transaction itself, the error wraps [ErrInDoubt].
func DoFirst(ctx context.Context, db *gorm.DB, owner string, b BegunSaga,
	run func(ctx context.Context, f *FirstSteps) (last json.RawMessage, err error)) (did bool, err error) {
	if err := cmp.Or(checkDB(db), b.checkBegin(owner)); err != nil {
		return false, err
	}
	row := StepRow{Owner: owner, Op: StepDo}
	f := &FirstSteps{db: db, owner: owner, claim: StepClaim{Content: b.Content}, begin: stepRow(row, b.encode())}
	f.begin.query = insertBegin
	err = commitOnce(ctx, db, "the first steps of saga "+owner, f.begin, func(t *transaction) (bool, error) {
		first, err := insertRow(t.ctx, db, t.pool, f.begin, row)
		if err != nil || !first {
			return false, err
		}
		f.t = t
		last, err := run(t.ctx, f)
		if err == nil {
			err = f.keep(b, last)
		}
		did = err == nil
		return did, err
	})
	switch {
	case errors.Is(err, errThere):
		return false, nil
	case errors.Is(err, errEnded):
		return false, fmt.Errorf("%w: %w", ErrInDoubt, errors.Join(err, f.salvage(ctx)))
	case did && err != nil && commitFailed(err) != holdfast.Rollback:
		return false, fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	if did = did && err == nil; did {
		fault.Point(fault.SagaDoAfterCommit)
	}
	return did, err
}

// Do does a step, whose row is inserted before COMMIT: it is [DoStepGiven] of a saga that has no
// row yet. An error has to be returned to [DoFirst].
func (f *FirstSteps) Do(ctx context.Context, step string, given []byte,
	run func(ctx context.Context, tx *gorm.DB) (result []byte, err error)) (result []byte, err error) {
	row := StepRow{Owner: f.owner, Step: step, Op: StepDo}
	given, err = checkResult(row, given)
	if err := cmp.Or(row.check(), err, f.t.free()); err != nil {
		return nil, err
	}
	record := stepRecord{Outcome: StepDone, Given: given, StepClaim: f.claim}
	f.rows = append(f.rows, step, encode(record))
	err = f.t.after(f.db, func() (err error) {
		result, err = run(ctx, f.t.gorm(f.db).WithContext(ctx))
		return err
	})
	if err := cmp.Or(err, ctx.Err()); err != nil {
		return nil, err
	}
	if record.Result, err = checkResult(row, result); err == nil && len(record.Result) > 0 {
		f.rows[len(f.rows)-1] = encode(record)
	}
	return record.Result, err
}

// keep inserts the rows of the steps and, where the saga has completed, says so in its begin row,
// in one statement.
func (f *FirstSteps) keep(b BegunSaga, last json.RawMessage) error {
	if err := f.t.free(); err != nil {
		return err
	}
	var ended []byte
	if len(last) > 0 {
		ended = b.completed(last).encode()
	}
	n, err := f.insert(f.t.ctx, f.t.pool, ended)
	if err == nil && int(n) != max(len(f.rows)/2, 1) {
		err = errThere
	}
	return err
}

// salvage keeps the rows of the steps whose function has committed by itself: they are not to be
// done again.
func (f *FirstSteps) salvage(ctx context.Context) error {
	_, err := f.insert(ctx, f.db.Statement.ConnPool, nil)
	return err
}

// insert inserts the rows of the steps if the begin row is there as it was begun, and changes that
// one to ended, unless it is nil.
func (f *FirstSteps) insert(ctx context.Context, pool gorm.ConnPool, ended []byte) (rows int64, err error) {
	begun := "SELECT owner FROM " + f.begin.table + " WHERE " + beginRow + " AND result = $2"
	args := []any{f.owner, f.begin.args[3]}
	if ended != nil {
		begun = "UPDATE " + f.begin.table + " SET result = $3 WHERE " + beginRow + " AND result = $2 RETURNING owner"
		args = append(args, ended)
	}
	query := begun
	if len(f.rows) > 0 {
		var values strings.Builder
		for i := range len(f.rows) / 2 {
			fmt.Fprintf(&values, ", ($%d::text, $%d::bytea)", len(args)+2*i+1, len(args)+2*i+2)
		}
		args = append(args, f.rows...)
		query = "WITH begun AS (" + begun + ") INSERT INTO " + f.begin.table + " (owner, step, op, result) " +
			"SELECT owner, v.step, 'do', v.result FROM begun, (VALUES " + values.String()[2:] + ") v (step, result) " +
			"ON CONFLICT (owner, step, op) DO NOTHING"
	}
	if rows, err = exec(ctx, pool, query, args...); err != nil {
		err = explain(f.db, "keep what the first steps of saga "+f.owner+" did", err)
	}
	return rows, err
}
