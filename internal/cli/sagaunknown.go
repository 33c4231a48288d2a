package cli

import (
	"context"
	"fmt"
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

// listUnknownOutside lists the sagas with such steps. Only their workflows know.
func listUnknownOutside(ctx context.Context, a *app, t *temporalServer, f sagaFilter, limit int, asJSON bool) error {
	if f.all() {
		f.states = undoStates
	}
	rows, more, err := sagasUnknownOutside(ctx, t, f, unknownLooked)
	if err != nil {
		return err
	}
	if more {
		printf(a.Err, "Only the latest %d that were undone were looked at: narrow it down with --name, --newer-than or --older-than.\n", unknownLooked)
	}
	if len(rows) > limit {
		printf(a.Err, "There are more than %d: raise --limit, or narrow it down.\n", limit)
		rows = rows[:limit]
	}
	if asJSON {
		return printJSON(a.Out, rows)
	}
	return printSagaRows(a.Out, rows, a.Now())
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

// unknownSagas tells of the sagas that were undone a short time ago with such steps.
func (f *findings) unknownSagas(ctx context.Context, t *temporalServer, prefix string, now time.Time) {
	const check = "undone sagas"
	undone := sagaFilter{prefix: prefix, states: []string{core.StateCompensated}, closedAfter: now.Add(-unknownRecent)}
	rows, more, err := sagasUnknownOutside(ctx, t, undone, unknownDoctor)
	looked := "in the last 24h"
	if more {
		looked = fmt.Sprintf("among the latest %d in the last 24h", unknownDoctor)
	}
	switch {
	case err != nil:
		f.add(levelWarning, check, "", "unknown: %s", text(err))
	case len(rows) == 0:
		f.ok(check, "none has a step whose effect outside its database is not known, %s", looked)
	default:
		f.add(levelWarning, check, f.code("saga list", "", "--unknown-outside")+" lists them; look whether the step did something outside, such as a call of an API, and undo it by hand; UndoUncertain has its Undo do that",
			"%s with a step of which nobody knows what it did outside its database, %s; such as step %s of %s", plural(len(rows), "saga"), looked, rows[0].UnknownOutside[0], rows[0].ID)
	}
}
