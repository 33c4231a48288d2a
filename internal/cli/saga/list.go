package saga

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func newSagaListCommand(a *frame.App) *cobra.Command {
	var s sagaFlags
	var asJSON, unknown bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List sagas",
		Long: `List sagas: those that are open first, then those that ended last. One that was
undone after its end is listed once. Those that shared a workflow are listed as
others are, with that workflow. A saga appears here about a second after it
began, and what happened to it about a second later; those that ended are found
for as long as the Temporal namespace keeps them. The step and the reason are
asked of a process of the group, and are missing where none answers.

--unknown-outside lists sagas with a step that was begun, whose row was not
committed, and of which nobody knows what it did outside its database: somebody
has to look there. Among the latest 1000 that were undone, or are being undone.

JSON: an array of id, group, name, key, version, state, step, reason, started,
closed, undone_later (state is that of the undoing), parent (the saga that it is
a part of), unknown_outside (steps), workflow_id, run_id, cohort (the workflow
that it shares with others, where it has none of its own).`,
		Example: "  holdfast saga list --state parked\n  holdfast saga list --name order-payment --newer-than 24h\n" +
			"  holdfast saga list --state compensated --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := s.filter(a)
			if err != nil {
				return err
			}
			if err := s.CheckLimit(); err != nil {
				return err
			}
			return a.WithTemporal(cmd.Context(), func(ctx context.Context, t *server.Temporal) error {
				if unknown {
					return listUnknownOutside(ctx, a, t, f, s.Limit, asJSON)
				}
				return listSagas(ctx, a, t, f, s.Limit, asJSON)
			})
		},
	}
	s.register(c.Flags(), 20, "how many at most", "only those in these states: "+text.Join(sagas.States))
	c.Flags().BoolVar(&unknown, "unknown-outside", false, "only those with a step whose effect outside its database is "+
		"not known")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func listSagas(ctx context.Context, a *frame.App, t *server.Temporal, f sagas.Filter, limit int, asJSON bool) error {
	rows, more, err := actions.First(limit, func(size int, visit func(sagas.Row) bool) error {
		return sagas.Each(ctx, t, f, size, visit)
	})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		a.NoteGroup(ctx, t, f.Group)
		a.NoteSaga(ctx, t, f.Name)
	}
	if more {
		text.Printf(a.Err, "There are more than %d: raise --limit, or narrow it down.\n", limit)
	}
	sagas.Tell(ctx, t, rows)
	return frame.Print(a, rows, asJSON, sagas.PrintRows)
}

// listUnknownOutside lists the sagas with such steps. Only their workflows know.
func listUnknownOutside(ctx context.Context, a *frame.App, t *server.Temporal, f sagas.Filter, limit int,
	asJSON bool) error {
	if f.All() {
		f.States = sagas.UndoStates
	}
	rows, more, err := sagas.FindUnknownOutside(ctx, t, f, sagas.UnknownLooked)
	if err != nil {
		return err
	}
	if more {
		text.Printf(a.Err, "Only the latest %d that were undone were looked at: narrow it down with --name, --newer-than "+
			"or --older-than.\n", sagas.UnknownLooked)
	}
	if len(rows) > limit {
		text.Printf(a.Err, "There are more than %d: raise --limit, or narrow it down.\n", limit)
		rows = rows[:limit]
	}
	return frame.Print(a, rows, asJSON, sagas.PrintRows)
}
