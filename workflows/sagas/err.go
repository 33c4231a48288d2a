package sagas

import (
	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Err is what the status means for whoever waits for the saga: nil if it has
// completed, else a [holdfast.SagaError].
func (s Status) Err() error {
	e := &holdfast.SagaError{Condition: Condition(s.State), ID: s.ID, Step: s.Step, Reason: s.Reason}
	cause := s.Core.Cause
	switch s.State {
	case core.StateCompleted:
		return nil
	case core.StateCompensated:
		if cause != nil {
			e.Step, e.Reason, e.Refused = cause.Step, cause.Reason, cause.Refused
		}
	case core.StateCompensationFailed:
		e.Refused = cause != nil && cause.Refused
	case core.StateParked:
		at := s.Core.Steps[s.Step]
		e.Refused = at != nil && at.Status == core.Refused
	case core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateCompensating:
		standing := s.Standing()
		e.Step, e.Reason = standing.Step, standing.String()
	}
	return e
}

// Condition is what one of core's State words means for whoever waits for the
// saga; nil for completed.
func Condition(state string) error {
	switch state {
	case core.StateCompleted:
		return nil
	case core.StateCompensated:
		return holdfast.ErrSagaCompensated
	case core.StateCompensationFailed:
		return holdfast.ErrSagaCompensationFailed
	case core.StateParked:
		return holdfast.ErrSagaParked
	}
	return holdfast.ErrSagaPending
}
