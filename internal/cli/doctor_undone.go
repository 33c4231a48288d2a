package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast/saga/core"
)

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
