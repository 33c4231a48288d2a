package cli

import (
	"context"
	"io"
	"slices"
	"time"
)

// order is one action on transactions, dead letters or sagas, each an R: what differs
// between them.
type order[R any] struct {
	*bulk
	ages
	// choose finds the ones that are meant, the oldest first.
	choose func(context.Context) ([]R, error)
	// state is the state of one, possible those in which the action makes sense.
	state    func(R) string
	possible []string
	print    func(io.Writer, []R, time.Time) error
	// unknown says that names which were given are not known, where nothing was found.
	unknown func(context.Context)
	// check says what stands in the way of all of them; nil: nothing does.
	check func(context.Context, []R) error
	// run does it, and calls tick as a crew does.
	run func(ctx context.Context, rows []R, tick func()) ([]outcome, error)
}

// actOn carries out an order, and reports it.
func actOn[R any](ctx context.Context, a *app, t *temporalServer, o order[R], ids []string) error {
	if err := agesCount(ctx, t, a, o.ages); err != nil {
		return err
	}
	rows, err := o.choose(ctx)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		o.unknown(ctx)
	}
	if o.dryRun {
		rows = slices.DeleteFunc(rows, func(r R) bool { return !slices.Contains(o.possible, o.state(r)) })
		printf(a.Err, "To %s: %s. Nothing was done.\n", o.verb, plural(len(rows), o.noun))
		if o.asJSON {
			return printJSON(a.Out, rows)
		}
		return o.print(a.Out, rows, a.Now())
	}
	if len(rows) == 0 {
		if o.asJSON {
			return printJSON(a.Out, []outcome{})
		}
		printf(a.Out, "No %ss to %s.\n", o.noun, o.verb)
		return nil
	}
	if o.check != nil {
		if err := o.check(ctx, rows); err != nil {
			return err
		}
	}
	if err := a.confirm(ctx, o.bulk, len(rows), len(ids) == 1); err != nil {
		return err
	}
	tick, done := a.progress(o.bulk, len(rows))
	all, err := o.run(ctx, rows, tick)
	done()
	if err != nil {
		return err
	}
	return a.report(o.bulk, all, len(ids) > 0)
}

// agesCount refuses ages in what acts on many, where this machine's clock is not
// Temporal's, which says when they began: others would be meant than were thought of.
func agesCount(ctx context.Context, t *temporalServer, a *app, g ages) error {
	if !g.given() {
		return nil
	}
	off, _, err := t.clockOff(ctx, a.Prefix, a.Now)
	if err == nil && off != "" {
		err = usagef("%s: --older-than and --newer-than would mean others than you think: set the wrong clock right", off)
	}
	return err
}
