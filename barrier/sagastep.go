package barrier

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// StepOutcome is what is true of a saga's step.
type StepOutcome string

// The outcomes.
const (
	// StepDone: it took effect; Result is what it answered.
	StepDone StepOutcome = "done"
	// StepRefused: it refused, and has no effect; Reason is why.
	StepRefused StepOutcome = "refused"
	// StepBlocked: it was undone, before or after it was done; Reason is why.
	StepBlocked StepOutcome = "blocked"
)

// StepResult is what [DoStep] found or did.
type StepResult struct {
	Outcome StepOutcome
	// Result is what the first run answered.
	Result []byte
	// Reason is of a refusal, or of the Undo.
	Reason string
	// Repeated says that nothing was run.
	Repeated bool
}

// MaxResult limits what a step may answer, in bytes of JSON.
const MaxResult = 1 << 20

// DoStep runs run, the Do of a saga's step, in one transaction with the step row,
// which keeps its result, and commits it. If the step was done, was refused, or
// was undone before, it runs nothing and says so. If run refuses
// ([holdfast.RefusedError]), what it wrote is rolled back and the refusal is kept;
// again says that one that was kept before does not count.
//
// owner is the saga's ID, step the step's name; limits as in [StepRow]. result is
// JSON, or nothing, and at most [MaxResult]. DoStep waits for another run of the
// same step, and for an Undo of it, that is in work, and follows how that one ends.
//
// After an error, also one of COMMIT, it may be called again: it finds out. Unless
// COMMIT was sent, nothing is written. A panic is rolled back and returned as
// [holdfast.PanicError]. run must not end tx, and should end when ctx is done. db
// must not be in a transaction.
func DoStep(ctx context.Context, db *gorm.DB, owner, step string, again bool, run func(ctx context.Context, tx *gorm.DB) (result []byte, err error)) (StepResult, error) {
	row := StepRow{Owner: owner, Step: step, Op: StepDo}
	if err := cmp.Or(checkDB(db), row.check()); err != nil {
		return StepResult{}, err
	}
	for {
		r, err := doStep(ctx, db, row, again, run)
		if errors.Is(err, errRowChanged) {
			continue
		}
		if err != nil {
			return StepResult{}, err
		}
		if !r.Repeated {
			fault.Point(fault.SagaDoAfterCommit)
		}
		return r, nil
	}
}

func doStep(ctx context.Context, db *gorm.DB, row StepRow, again bool, run func(context.Context, *gorm.DB) ([]byte, error)) (StepResult, error) {
	var r StepResult
	var old []byte // the refusal that does not count
	insert := stepRow(row, nil)
	err := commitOnce(ctx, db, row.String(), insert, func(t *transaction) (bool, error) {
		first, err := insertRow(t.ctx, db, t.pool, insert, row)
		if err != nil {
			return false, err
		}
		if !first {
			found, undone, err := readRows(t.ctx, db, t.pool, row)
			if err != nil {
				return false, err
			}
			r = found.result(undone)
			if r.Outcome != StepRefused || !again {
				return false, nil
			}
			// A refusal is only changed where it is still the one that was read: so an
			// Undo that comes now waits for this run, or this one finds it.
			if err := changeRow(t.ctx, db, t.pool, row, found.stored, nil); err != nil {
				return false, err
			}
			old = found.stored
		}
		result, err := run(t.ctx, t.gorm(db))
		if err != nil {
			return false, err
		}
		if result, err = checkResult(row, result); err != nil {
			return false, err
		}
		r = StepResult{Outcome: StepDone, Result: result}
		if len(result) == 0 {
			return true, nil
		}
		return true, setResult(t.ctx, db, t.pool, row, encode(stepRecord{Outcome: StepDone, Result: result}))
	})
	if err == nil {
		return r, nil
	}
	reason, refused := holdfast.IsRefused(err)
	if !refused {
		return StepResult{}, err
	}
	if errors.Is(err, errEnded) { // perhaps committed: no refusal
		return StepResult{}, fmt.Errorf("%w: refused: %s", errEnded, reason)
	}
	r = StepResult{Outcome: StepRefused, Reason: shorten(reason)}
	return r, keepRefusal(ctx, db, row, old, encode(stepRecord{Outcome: StepRefused, Reason: r.Reason}))
}

// keepRefusal writes the do row of a refusal whose transaction is rolled back.
// [errRowChanged]: in between another run, or an Undo, has written it.
func keepRefusal(ctx context.Context, db *gorm.DB, row StepRow, old, refusal []byte) error {
	if old != nil {
		return changeRow(ctx, db, db.Statement.ConnPool, row, old, refusal)
	}
	first, err := insertRow(ctx, db, db.Statement.ConnPool, stepRow(row, refusal), row)
	if err == nil && !first {
		err = errRowChanged
	}
	return err
}

// UndoStep runs undo, with the result of the Do, if the Do took effect, in one
// transaction with the row that makes it happen once. If the Do did not take
// effect, it never will from now on: the row says so. It waits for a Do that is in
// work, and follows how that one ends. reason is kept for who asks later.
//
// A Do whose row was deleted by retention counts as not done.
//
// After an error, also one of COMMIT, it may be called again: it finds out. A
// panic is rolled back and returned as [holdfast.PanicError]. undo must not end
// tx, and should end when ctx is done. db must not be in a transaction.
func UndoStep(ctx context.Context, db *gorm.DB, owner, step, reason string, undo func(ctx context.Context, tx *gorm.DB, result []byte) error) (UndoResult, error) {
	row, do := StepRow{Owner: owner, Step: step, Op: StepUndo}, StepRow{Owner: owner, Step: step, Op: StepDo}
	if err := cmp.Or(checkDB(db), row.check()); err != nil {
		return "", err
	}
	reason = shorten(reason)
	var did UndoResult
	insert := stepRow(row, encode(stepRecord{Reason: reason}))
	err := commitOnce(ctx, db, row.String(), insert, func(t *transaction) (bool, error) {
		first, err := insertRow(t.ctx, db, t.pool, insert, row)
		if err != nil {
			return false, err
		}
		if !first {
			did = Repeated
			return false, nil
		}
		result, done, err := undoes(t, db, do, reason)
		if err != nil {
			return false, err
		}
		if !done {
			did = Blocked
			return true, nil
		}
		did = Undone
		return true, undo(t.ctx, t.gorm(db), result)
	})
	if err != nil {
		return "", err
	}
	if did != Repeated {
		fault.Point(fault.SagaUndoAfterCommit)
	}
	return did, nil
}

// undoes reports whether the Do took effect, and what it answered. If not, the do
// row says from now on that it never will.
func undoes(t *transaction, db *gorm.DB, do StepRow, reason string) (result []byte, done bool, err error) {
	blocked := encode(stepRecord{Outcome: StepBlocked, Reason: reason})
	for {
		// The row that a Do inserts before its effect. Not found: there is none.
		first, err := insertRow(t.ctx, db, t.pool, stepRow(do, blocked), do)
		if err != nil || first {
			return nil, false, err
		}
		found, _, err := readRows(t.ctx, db, t.pool, do)
		if err == nil && found.Outcome == StepRefused {
			err = changeRow(t.ctx, db, t.pool, do, found.stored, blocked)
		}
		if errors.Is(err, errRowChanged) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		return found.Result, found.Outcome == StepDone, nil
	}
}
