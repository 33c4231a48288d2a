package cli

import (
	"context"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

const (
	// unknownLooked is how many sagas a list looks through for steps whose effect
	// outside is not known, and unknownDoctor how many doctor does.
	unknownLooked, unknownDoctor = 1000, 100
	// unknownRecent is how long ago they were undone that doctor tells of: nobody can
	// say there that they were looked at.
	unknownRecent = 24 * time.Hour
)

// undoStates are the states of sagas that were undone, or are being undone.
var undoStates = []string{core.StateCompensated, core.StateCompensating, core.StateCompensationFailed}

// unknownOutside are the steps of a saga of which nobody knows what they did outside
// their database.
func unknownOutside(s workflows.SagaStatus) (steps []string) {
	s.Plan.Each(func(step *core.Step, _ int) {
		if at := s.Core.Steps[step.Name]; at != nil && at.Status == core.UnknownOutside {
			steps = append(steps, step.Name)
		}
	})
	return steps
}

// sagasUnknownOutside returns, of the latest sagas that f means, most at most, those with
// such steps; more says that there are others which were not looked at.
func sagasUnknownOutside(ctx context.Context, t *temporalServer, f sagaFilter, most int) (rows []sagaRow, more bool, err error) {
	rows = []sagaRow{}
	err = eachSaga(ctx, t, f, min(most+1, deadPage), func(r sagaRow) bool {
		if more = len(rows) == most; !more {
			rows = append(rows, r)
		}
		return !more
	})
	if err != nil {
		return nil, false, err
	}
	tellSagas(ctx, t, rows)
	return slices.DeleteFunc(rows, func(r sagaRow) bool { return len(r.UnknownOutside) == 0 }), more, nil
}
