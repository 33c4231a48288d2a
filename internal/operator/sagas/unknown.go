package sagas

import (
	"context"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

const (
	// UnknownLooked is how many sagas a list looks through for steps whose effect
	// outside is not known, and UnknownDoctor how many doctor does.
	UnknownLooked, UnknownDoctor = 1000, 100
	// UnknownRecent is how long ago they were undone that doctor tells of: nobody can
	// say there that they were looked at.
	UnknownRecent = 24 * time.Hour
)

// UndoStates are the states of sagas that were undone, or are being undone.
var UndoStates = []string{core.StateCompensated, core.StateCompensating, core.StateCompensationFailed}

// unknownOutside are the steps of a saga of which nobody knows what they did outside
// their database.
func unknownOutside(s sagaflow.Status) (steps []string) {
	s.Plan.Each(func(step *core.Step, _ int) {
		if at := s.Core.Steps[step.Name]; at != nil && at.Status == core.UnknownOutside {
			steps = append(steps, step.Name)
		}
	})
	return steps
}

// FindUnknownOutside returns, of the latest sagas that f means, most at most, those with
// such steps; more says that there are others which were not looked at.
func FindUnknownOutside(ctx context.Context, t *server.Temporal, f Filter, most int) (rows []Row,
	more bool, err error) {
	rows = []Row{}
	err = Each(ctx, t, f, min(most+1, server.PageLimit), func(r Row) bool {
		if more = len(rows) == most; !more {
			rows = append(rows, r)
		}
		return !more
	})
	if err != nil {
		return nil, false, err
	}
	Tell(ctx, t, rows)
	return slices.DeleteFunc(rows, func(r Row) bool { return len(r.UnknownOutside) == 0 }), more, nil
}
