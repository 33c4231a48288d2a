package frame

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Order is one action on transactions, dead letters or sagas, each an R: what differs
// between them.
type Order[R any] struct {
	*Bulk
	*Which
	// find finds the one that an ID means, whose name tells it from others, and list those
	// that the filters mean, with when each started.
	Find    func(ctx context.Context, id string) (R, error)
	Name    func(R) string
	List    func(context.Context) ([]R, error)
	Started func(R) time.Time
	// state is the state of one, possible those in which the action makes sense.
	State    func(R) string
	Possible []string
	Print    func(io.Writer, []R, time.Time) error
	// unknown says that names which were given are not known, where nothing was found.
	Unknown func(context.Context)
	// check says what stands in the way of all of them; nil: nothing does.
	Check func(context.Context, []R) error
	// run does it, and calls tick as a crew does.
	Run func(ctx context.Context, rows []R, tick func()) ([]actions.Outcome, error)
}

// choose finds the ones that are meant, the oldest first.
func (o Order[R]) choose(ctx context.Context, ids []string) ([]R, error) {
	if len(ids) > 0 {
		return actions.LookUp(ctx, o.Parallel, ids, o.Find, o.Name)
	}
	rows, err := o.List(ctx)
	return actions.Oldest(rows, o.Which.Limit, o.Started), err
}

// Print writes rows, in JSON or as print does.
func Print[R any](a *App, rows []R, asJSON bool, print func(io.Writer, []R, time.Time) error) error {
	if asJSON {
		return text.JSON(a.Out, rows)
	}
	return print(a.Out, rows, a.Now())
}

// ActOn carries out an order, and reports it.
func ActOn[R any](ctx context.Context, a *App, t *server.Temporal, o Order[R], ids []string) error {
	if err := agesCount(ctx, t, a, o.Ages); err != nil {
		return err
	}
	rows, err := o.choose(ctx, ids)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		o.Unknown(ctx)
	}
	if o.DryRun {
		rows = slices.DeleteFunc(rows, func(r R) bool { return !slices.Contains(o.Possible, o.State(r)) })
		text.Printf(a.Err, "To %s: %s. Nothing was done.\n", o.Verb, text.Plural(len(rows), o.Noun))
		return Print(a, rows, o.asJSON, o.Print)
	}
	if len(rows) == 0 {
		if o.asJSON {
			return text.JSON(a.Out, []actions.Outcome{})
		}
		text.Printf(a.Out, "No %ss to %s.\n", o.Noun, o.Verb)
		return nil
	}
	if o.Check != nil {
		if err := o.Check(ctx, rows); err != nil {
			return err
		}
	}
	if err := a.confirm(ctx, o.Bulk, len(rows), len(ids) == 1); err != nil {
		return err
	}
	tick, done := a.progress(o.Bulk, len(rows))
	all, err := o.Run(ctx, rows, tick)
	done()
	if err != nil {
		return err
	}
	return a.report(o.Bulk, all, len(ids) > 0)
}

// agesCount refuses ages in what acts on many, where this machine's clock is not
// Temporal's, which says when they began: others would be meant than were thought of.
func agesCount(ctx context.Context, t *server.Temporal, a *App, g Ages) error {
	if !g.Given() {
		return nil
	}
	off, _, err := t.ClockOff(ctx, a.Prefix, a.Now)
	if err == nil && off != "" {
		err = text.Usagef("%s: --older-than and --newer-than would mean others than you think: set the wrong clock "+
			"right", off)
	}
	return err
}
