package barrier

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"gorm.io/gorm"

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
	did   []string // names
	rows  [][]byte // what their rows are to say
}

// DoFirst begins a saga, which b.Holder drives, and does its first steps, all in one
// transaction: run does them by [FirstSteps.Do]. last, if not empty, is all that is known of
// the saga where it has completed with them; its begin row says so then.
//
// It is all or nothing: an error of run rolls everything back, so that the steps can be done
// one by one with [DoStep]. did is false, and nothing is done, where the saga was begun before,
// or a row of one of the steps is there: those have to be looked at one by one. After an error
// of COMMIT the rows tell.
func DoFirst(ctx context.Context, db *gorm.DB, owner string, b BegunSaga,
	run func(ctx context.Context, f *FirstSteps) (last json.RawMessage, err error)) (did bool, err error) {
	if err := cmp.Or(checkDB(db), b.checkBegin(owner)); err != nil {
		return false, err
	}
	row := StepRow{Owner: owner, Op: StepDo}
	f := &FirstSteps{db: db, owner: owner, claim: StepClaim{Content: b.Content}, begin: stepRow(row, b.encode())}
	err = commitOnce(ctx, db, "the first steps of saga "+owner, f.begin, func(t *transaction) (bool, error) {
		first, err := insertRow(t.ctx, db, t.pool, f.begin, row)
		if err != nil || !first {
			return false, err
		}
		f.t = t
		last, err := run(t.ctx, f)
		if err == nil {
			did, err = f.keep(b, last)
		}
		return did, err
	})
	if did = did && err == nil; did {
		fault.Point(fault.SagaDoAfterCommit)
	}
	return did, err
}

// Do does a step. It is [DoStepGiven] without a row of an earlier run. An error has to be
// returned to [DoFirst].
func (f *FirstSteps) Do(ctx context.Context, step string, given []byte,
	run func(ctx context.Context, tx *gorm.DB) (result []byte, err error)) (result []byte, err error) {
	row := StepRow{Owner: f.owner, Step: step, Op: StepDo}
	given, err = checkResult(row, given)
	if err := cmp.Or(row.check(), err); err != nil {
		return nil, err
	}
	err = f.t.after(f.db, func() (err error) {
		result, err = run(ctx, f.t.gorm(f.db).WithContext(ctx))
		return err
	})
	if err := cmp.Or(err, ctx.Err()); err != nil {
		return nil, err
	}
	if result, err = checkResult(row, result); err != nil {
		return nil, err
	}
	f.did = append(f.did, step)
	f.rows = append(f.rows, encode(stepRecord{Outcome: StepDone, Result: result, Given: given, StepClaim: f.claim}))
	return result, nil
}

// keep writes the rows of the steps, and, where the saga has completed, its begin row, in one
// statement. It reports false where a row of a step was there before, or no step was done.
func (f *FirstSteps) keep(b BegunSaga, last json.RawMessage) (bool, error) {
	if len(f.did) == 0 {
		return false, nil
	}
	if err := f.t.free(); err != nil {
		return false, err
	}
	query, args, rows := f.insert()
	if len(last) > 0 {
		args, rows = append(args, b.completed(last).encode()), 1
		query = fmt.Sprintf("WITH did AS (%s RETURNING 1) UPDATE %s SET result = $%d "+
			"WHERE %s AND (SELECT count(*) FROM did) = %d",
			query, f.begin.table, len(args), beginRow, len(f.did))
	}
	n, err := exec(f.t.ctx, f.t.pool, query, args...)
	if err != nil {
		return false, explain(f.db, "keep what the first steps of saga "+f.owner+" did", err)
	}
	return int(n) == rows, nil
}

// insert is the statement that inserts the rows which are not there.
func (f *FirstSteps) insert() (query string, args []any, rows int) {
	q := strings.Builder{}
	q.WriteString("INSERT INTO " + f.begin.table + " (owner, step, op, result) VALUES ")
	args = []any{f.owner}
	for i, step := range f.did {
		fmt.Fprintf(&q, "($1, $%d, 'do', $%d), ", len(args)+1, len(args)+2)
		args = append(args, step, f.rows[i])
	}
	return strings.TrimSuffix(q.String(), ", ") + " ON CONFLICT (owner, step, op) DO NOTHING", args, len(f.did)
}
