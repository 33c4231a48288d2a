package barrier

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	rows  []any // steps whose rows are to be changed before COMMIT, each with what it is to say
}

// errThere rolls back steps of which one has a row.
var errThere = errors.New("a step has a row of before")

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
			err = f.keep(b, last)
		}
		did = err == nil
		return did, err
	})
	if errors.Is(err, errThere) {
		return false, nil
	}
	if did = did && err == nil; did {
		fault.Point(fault.SagaDoAfterCommit)
	}
	return did, err
}

// Do does a step, after it has inserted its row: it is [DoStepGiven] without a row of an earlier
// run. An error has to be returned to [DoFirst].
func (f *FirstSteps) Do(ctx context.Context, step string, given []byte,
	run func(ctx context.Context, tx *gorm.DB) (result []byte, err error)) (result []byte, err error) {
	row := StepRow{Owner: f.owner, Step: step, Op: StepDo}
	given, err = checkResult(row, given)
	if err := cmp.Or(row.check(), err, f.t.free()); err != nil {
		return nil, err
	}
	record := stepRecord{Outcome: StepDone, Given: given, StepClaim: f.claim}
	n, err := exec(ctx, f.t.pool, "INSERT INTO "+f.begin.table+insertedStep, f.owner, step, string(StepDo), encode(record))
	if err != nil {
		return nil, explain(f.db, "insert the row of "+row.String(), err)
	}
	if n == 0 {
		return nil, errThere
	}
	err = f.t.after(f.db, func() (err error) {
		result, err = run(ctx, f.t.gorm(f.db).WithContext(ctx))
		return err
	})
	if err := cmp.Or(err, ctx.Err()); err != nil {
		return nil, err
	}
	if record.Result, err = checkResult(row, result); err != nil || len(record.Result) == 0 {
		return nil, err
	}
	f.rows = append(f.rows, step, encode(record))
	return record.Result, nil
}

// keep writes what the steps answered, and, where the saga has completed, that into its begin
// row, in one statement.
func (f *FirstSteps) keep(b BegunSaga, last json.RawMessage) error {
	rows := f.rows
	if len(last) > 0 {
		rows = append(rows, "", b.completed(last).encode())
	}
	if err := f.t.free(); err != nil || len(rows) == 0 {
		return err
	}
	var values strings.Builder
	for i := range len(rows) / 2 {
		fmt.Fprintf(&values, ", ($%d::text, $%d::bytea)", 2*i+2, 2*i+3)
	}
	n, err := exec(f.t.ctx, f.t.pool, "UPDATE "+f.begin.table+" t SET result = v.result FROM (VALUES "+
		values.String()[2:]+") v (step, result) WHERE t.owner = $1 AND t.op = 'do' AND t.step = v.step",
		append([]any{f.owner}, rows...)...)
	if err == nil && int(n) != len(rows)/2 {
		err = errEnded // by SQL of a step's
	}
	if err != nil {
		return explain(f.db, "keep what the first steps of saga "+f.owner+" did", err)
	}
	return nil
}
