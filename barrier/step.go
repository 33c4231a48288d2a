package barrier

import (
	"cmp"
	"context"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// StepOp says what a step row is about: doing the step, or undoing it.
type StepOp string

// The ops.
const (
	StepDo   StepOp = "do"
	StepUndo StepOp = "undo"
)

// StepRow names a step row. Every field is required.
type StepRow struct {
	// Owner is the ID of the message or the saga that the step is for, 1 to 1000
	// bytes.
	Owner string
	// Step names the step among those of its owner, 1 to 500 bytes.
	Step string
	// Op is StepDo or StepUndo.
	Op StepOp
}

const insertStep = `INSERT INTO holdfast_steps (owner, step, op) ` +
	`VALUES ($1, $2, $3) ON CONFLICT (owner, step, op) DO NOTHING`

// Step runs run in one transaction with the step row, and commits it. repeated
// means that the effect of this step is committed already: nothing was run. It
// waits for another run of the same step that is in work, and takes its place if
// that one fails.
//
// After an error, also one of COMMIT, the step may be run again: Step finds out.
// A panic is rolled back and returned as [holdfast.PanicError]. run must not end
// tx, and should end when ctx is done. db must not be in a transaction.
func Step(ctx context.Context, db *gorm.DB, row StepRow,
	run func(ctx context.Context, tx *gorm.DB) error) (repeated bool, err error) {
	if err := cmp.Or(checkDB(db), row.check()); err != nil {
		return false, err
	}
	first := &statement{query: insertStep, args: []any{row.Owner, row.Step, string(row.Op)},
		table: stepsTable, mine: stepRowOf, keys: 3}
	err = commitOnce(ctx, db, row.String(), first, func(t *transaction) (bool, error) {
		n, err := first.exec(t.ctx, t.pool)
		if err != nil {
			return false, explain(db, "insert the row of "+row.String(), err)
		}
		if n == 0 {
			repeated = true
			return false, nil
		}
		return true, t.after(db, func() error { return run(t.ctx, t.gorm(db)) })
	})
	if err != nil {
		return false, err
	}
	if !repeated {
		fault.Point(fault.StepAfterCommit)
	}
	return repeated, nil
}

// String names the step in errors.
func (r StepRow) String() string {
	return fmt.Sprintf("step %s (%s) of %s", r.Step, r.Op, r.Owner)
}

func (r StepRow) check() error {
	if r.Op != StepDo && r.Op != StepUndo {
		return fmt.Errorf("%w: the op of step %.100q is %.100q: want do or undo", holdfast.ErrInvalid, r.Step, r.Op)
	}
	return cmp.Or(checkText("the step's owner", r.Owner, 1000), checkText("the step's name", r.Step, 500))
}
