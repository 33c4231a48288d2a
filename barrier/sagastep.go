package barrier

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// StepOutcome is what is true of a saga's step.
type StepOutcome = stepend.Kind

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
func DoStep(ctx context.Context, db *gorm.DB, owner, step string,
	again bool, run func(ctx context.Context, tx *gorm.DB) (result []byte, err error)) (StepResult, error) {
	return DoStepGiven(ctx, db, owner, step, StepClaim{}, again, nil, run)
}

// DoStepGiven is [DoStep], and keeps in the step row what the Do was given, in JSON,
// for the Undo: see [UndoStepGiven]. Of several runs it is that of the one which took
// effect, also where nobody learned of that one. A row that is for somebody else, as
// claim says, is a permanent [holdfast.ErrDuplicate].
func DoStepGiven(ctx context.Context, db *gorm.DB, owner, step string, claim StepClaim,
	again bool, given []byte, run func(ctx context.Context, tx *gorm.DB) (result []byte, err error)) (StepResult, error) {
	row := StepRow{Owner: owner, Step: step, Op: StepDo}
	given, err := checkResult(row, given)
	if err := cmp.Or(checkDB(db), row.check(), err); err != nil {
		return StepResult{}, err
	}
	for {
		r, err := doStep(ctx, db, row, claim, again, given, run)
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

func doStep(ctx context.Context, db *gorm.DB, row StepRow, claim StepClaim,
	again bool, given []byte, run func(context.Context, *gorm.DB) ([]byte, error)) (StepResult, error) {
	var r StepResult
	var old, done []byte // the refusal that does not count; what the row says where there is no result
	if len(given) > 0 || claim != (StepClaim{}) {
		done = encode(stepRecord{Outcome: StepDone, Given: given, StepClaim: claim})
	}
	insert := stepRow(row, done)
	err := commitOnce(ctx, db, row.String(), insert, func(t *transaction) (bool, error) {
		first, err := insertRow(t.ctx, db, t.pool, insert, row)
		if err != nil {
			return false, err
		}
		if !first {
			found, undone, err := readRows(t.ctx, db, t.pool, row)
			if err == nil {
				err = claim.check(row, found.StepClaim)
			}
			if err != nil {
				return false, err
			}
			r = found.result(undone)
			if r.Outcome != StepRefused || !again {
				return false, nil
			}
			// A refusal is only changed where it is still the one that was read: so an
			// Undo that comes now waits for this run, or this one finds it.
			if err := changeRow(t.ctx, db, t.pool, row, found.stored, done); err != nil {
				return false, err
			}
			old = found.stored
		}
		var result []byte
		err = t.after(db, func() (err error) {
			result, err = run(t.ctx, t.gorm(db))
			return err
		})
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
		return true, setResult(t, db, row,
			encode(stepRecord{Outcome: StepDone, Result: result, Given: given, StepClaim: claim}))
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
	return r, keepRefusal(ctx, db, row, old, encode(stepRecord{Outcome: StepRefused, Reason: r.Reason, StepClaim: claim}))
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
func UndoStep(ctx context.Context, db *gorm.DB, owner, step, reason string,
	undo func(ctx context.Context, tx *gorm.DB, result []byte) error) (UndoResult, error) {
	r, err := UndoStepGiven(ctx, db, owner, step, StepClaim{}, reason, false,
		func(ctx context.Context, tx *gorm.DB, did StepDid) ([]byte, error) {
			return nil, undo(ctx, tx, did.Result)
		})
	return r.Did, err
}

// StepDid is what the step row tells an Undo of its Do.
type StepDid struct {
	// Done: the Do took effect. False: it has no row, and the Undo is run because it
	// may have had an effect outside the database.
	Done bool
	// Given is what it was given, nil where [DoStep] or an earlier version of Holdfast
	// did it; Result is what it answered.
	Given, Result []byte
}

// StepUndone is what [UndoStepGiven] found or did.
type StepUndone struct {
	Did UndoResult
	// Ran says that the Undo was run, now or before. False: there was nothing to undo
	// in the database.
	Ran bool
	// Result is what the Undo that was run answered.
	Result []byte
}

// UndoStepGiven is [UndoStep] with an Undo that learns what its Do was given, and
// that answers with a result, JSON or nothing, which is kept for who asks again.
// uncertain has the Undo run also where the Do did not take effect, once: it may have
// had an effect outside the database. Where the row is for somebody else, as claim
// says, there is nothing to undo, and nothing is written.
func UndoStepGiven(ctx context.Context, db *gorm.DB, owner, step string, claim StepClaim, reason string, uncertain bool,
	undo func(ctx context.Context, tx *gorm.DB, did StepDid) (result []byte, err error)) (StepUndone, error) {
	row, do := StepRow{Owner: owner, Step: step, Op: StepUndo}, StepRow{Owner: owner, Step: step, Op: StepDo}
	if err := cmp.Or(checkDB(db), row.check()); err != nil {
		return StepUndone{}, err
	}
	reason = shorten(reason)
	var r StepUndone
	insert := stepRow(row, encode(stepRecord{Reason: reason}))
	err := commitOnce(ctx, db, row.String(), insert, func(t *transaction) (bool, error) {
		first, err := insertRow(t.ctx, db, t.pool, insert, row)
		if err != nil {
			return false, err
		}
		if !first {
			r, err = undoneBefore(t, db, do, claim)
			return false, err
		}
		did, blocked, err := undoes(t, db, do, claim, reason)
		if err != nil {
			return false, err
		}
		if blocked && !uncertain {
			r = StepUndone{Did: Blocked}
			return true, nil
		}
		var result []byte
		err = t.after(db, func() (err error) {
			result, err = undo(t.ctx, t.gorm(db), did)
			return err
		})
		if err == nil {
			result, err = checkResult(row, result)
		}
		if err != nil {
			return false, err
		}
		r = StepUndone{Did: Undone, Ran: true, Result: result}
		if did.Done && len(result) == 0 {
			return true, nil
		}
		return true, setResult(t, db, row, encode(stepRecord{Outcome: stepUndone, Reason: reason, Result: result}))
	})
	if errors.Is(err, errOthers) {
		return StepUndone{Did: Blocked}, nil
	}
	if err != nil {
		return StepUndone{}, err
	}
	if r.Did != Repeated {
		fault.Point(fault.SagaUndoAfterCommit)
	}
	return r, nil
}

// DidStep tells what the row of a saga's step knows of its Do. Nothing: it did not
// take effect, as far as can be seen without waiting for one that is in work.
func DidStep(ctx context.Context, db *gorm.DB, owner, step string) (StepDid, error) {
	row := StepRow{Owner: owner, Step: step, Op: StepDo}
	if err := cmp.Or(checkDB(db), row.check()); err != nil {
		return StepDid{}, err
	}
	found, _, err := readRows(ctx, db, db.Statement.ConnPool, row)
	if errors.Is(err, errRowChanged) || err == nil && found.Outcome != StepDone {
		return StepDid{}, nil
	}
	return StepDid{Done: err == nil, Given: found.Given, Result: found.Result}, err
}

// undoneBefore is what a repeated Undo finds: that of before was run, or there was
// nothing to undo.
func undoneBefore(t *transaction, db *gorm.DB, do StepRow, claim StepClaim) (StepUndone, error) {
	found, undone, err := readRows(t.ctx, db, t.pool, do)
	if err == nil {
		err = claim.check(do, found.StepClaim)
	}
	switch {
	case errors.Is(err, errRowChanged), err == nil && undone == nil: // deleted by retention
		return StepUndone{Did: Repeated, Ran: true}, nil
	case err != nil:
		return StepUndone{}, err
	}
	return StepUndone{Did: Repeated, Ran: found.Outcome == StepDone || undone.Outcome == stepUndone,
		Result: undone.Result}, nil
}

// undoes says what the Do did. blocked: it did not take effect, and the do row says
// from now on that it never will.
func undoes(t *transaction, db *gorm.DB, do StepRow, claim StepClaim,
	reason string) (did StepDid, blocked bool, err error) {
	never := encode(stepRecord{Outcome: StepBlocked, Reason: reason, StepClaim: claim})
	for {
		// The row that a Do inserts before its effect. Not found: there is none.
		first, err := insertRow(t.ctx, db, t.pool, stepRow(do, never), do)
		if err != nil || first {
			return did, first, err
		}
		found, _, err := readRows(t.ctx, db, t.pool, do)
		if err == nil {
			err = claim.check(do, found.StepClaim)
		}
		if err == nil && found.Outcome == StepRefused {
			err = changeRow(t.ctx, db, t.pool, do, found.stored, never)
		}
		if errors.Is(err, errRowChanged) {
			continue
		}
		if err != nil {
			return did, false, err
		}
		return StepDid{Done: found.Outcome == StepDone, Given: found.Given, Result: found.Result},
			found.Outcome != StepDone, nil
	}
}
