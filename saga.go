package holdfast

import (
	"errors"
	"fmt"
)

// How a saga can stand when its outcome is asked for, beside completed. A
// [SagaError] wraps one of them.
var (
	// ErrSagaPending means that the saga is under way: ask again later.
	ErrSagaPending = errors.New("holdfast: the saga has not ended")
	// ErrSagaCompensated means that the saga failed, and that everything it did
	// is undone.
	ErrSagaCompensated = errors.New("holdfast: the saga was compensated")
	// ErrSagaParked means that a step failed for good and waits for an operator.
	ErrSagaParked = errors.New("holdfast: the saga is parked")
	// ErrSagaCompensationFailed means that the saga failed, and that some of what
	// it did could not be undone; it waits for an operator.
	ErrSagaCompensationFailed = errors.New("holdfast: the saga failed to compensate")
)

// SagaError says how a saga stands that has not completed.
type SagaError struct {
	// Condition is one of the four errors above.
	Condition error
	// ID is the saga's ID, which is its workflow's.
	ID string
	// Step is the step that failed, is parked or could not be undone; empty where
	// no step is the cause.
	Step string
	// Reason says why, in the words of the step's error, of its refusal or of the
	// operator who asked for it.
	Reason string
	// Refused says that the cause is a business refusal.
	Refused bool
}

// Error names the saga, the step and the reason.
func (e *SagaError) Error() string {
	s := fmt.Sprintf("%v: %s", e.Condition, e.ID)
	if e.Step != "" {
		s += ": step " + e.Step
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Unwrap returns the condition.
func (e *SagaError) Unwrap() error { return e.Condition }

// ValidateSagaKey checks the business key of a saga, which is a part of its ID: 1
// to [MaxName] bytes of text without spaces and slashes. The error wraps
// [ErrInvalid].
func ValidateSagaKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: the saga's key is empty: Key must return one for every state", ErrInvalid)
	}
	return validText("saga's key", key, MaxName, " /")
}
