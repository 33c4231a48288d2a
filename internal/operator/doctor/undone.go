package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
)

// UnknownSagas tells of the sagas that were undone a short time ago with such steps.
func (f *Findings) UnknownSagas(ctx context.Context, t *server.Temporal, prefix string, now time.Time) {
	const check = "undone sagas"
	undone := sagas.Filter{Prefix: prefix, States: []string{core.StateCompensated},
		ClosedAfter: now.Add(-sagas.UnknownRecent)}
	rows, more, err := sagas.FindUnknownOutside(ctx, t, undone, sagas.UnknownDoctor)
	looked := "in the last 24h"
	if more {
		looked = fmt.Sprintf("among the latest %d in the last 24h", sagas.UnknownDoctor)
	}
	switch {
	case err != nil:
		f.add(text.LevelWarning, check, "", "unknown: %s", text.Of(err))
	case len(rows) == 0:
		f.ok(check, "none has a step whose effect outside its database is not known, %s", looked)
	default:
		f.add(text.LevelWarning, check, f.Code("saga list", "", "--unknown-outside")+" lists them; look whether the step "+
			"did something outside, such as a call of an API, and undo it by hand; UndoUncertain has its Undo do that",
			"%s with a step of which nobody knows what it did outside its database, %s; such as step %s "+
				"of %s", text.Plural(len(rows), "saga"), looked, rows[0].UnknownOutside[0], rows[0].ID)
	}
}
