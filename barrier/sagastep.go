package barrier

import (
	"context"
	"errors"

	"gorm.io/gorm"
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

// DoStep runs run, the Do of a saga's step, in one transaction with the step row,
// which keeps its result, and commits it. If the step was done, was refused, or
// was undone before, it runs nothing and says so. If run refuses
// ([holdfast.RefusedError]), what it wrote is rolled back and the refusal is kept;
// again says that one that was kept before does not count.
//
// After an error, also one of COMMIT, it may be called again: it finds out. …
func DoStep(ctx context.Context, db *gorm.DB, owner, step string, again bool, run func(ctx context.Context, tx *gorm.DB) (result []byte, err error)) (StepResult, error) {
	return StepResult{}, errors.ErrUnsupported
}

// UndoStep runs undo, with the result of the Do, if the Do took effect, in one
// transaction with the row that makes it happen once. If the Do did not take
// effect, it never will from now on: the row says so. It waits for a Do that is in
// work, and follows how that one ends. reason is kept for who asks later.
func UndoStep(ctx context.Context, db *gorm.DB, owner, step, reason string, undo func(ctx context.Context, tx *gorm.DB, result []byte) error) (UndoResult, error) {
	return "", errors.ErrUnsupported
}
