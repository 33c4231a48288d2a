package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func newSagaListCommand(a *app) *cobra.Command {
	var s sagaFlags
	var asJSON, unknown bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List sagas",
		Long: `List sagas: those that are open first, then those that ended last. One that was
undone after its end is listed once. A saga appears here about a second after it
began, and what happened to it about a second later; those that ended are found
for as long as the Temporal namespace keeps them. The step and the reason are
asked of a process of the group, and are missing where none answers.

--unknown-outside lists sagas with a step that was begun, whose row was not
committed, and of which nobody knows what it did outside its database: somebody
has to look there. Among the latest 1000 that were undone, or are being undone.

JSON: an array of id, group, name, key, version, state, step, reason, started,
closed, undone_later (state is that of the undoing), parent (the saga that it is
a part of), unknown_outside (steps), workflow_id, run_id.`,
		Example: "  holdfast saga list --state parked\n  holdfast saga list --name order-payment --newer-than 24h\n" +
			"  holdfast saga list --state compensated --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := s.filter(a)
			if err != nil {
				return err
			}
			if s.limit < 1 {
				return usagef("--limit %d: want 1 or more", s.limit)
			}
			return a.withTemporal(cmd.Context(), func(ctx context.Context, t *temporalServer) error {
				if unknown {
					return listUnknownOutside(ctx, a, t, f, s.limit, asJSON)
				}
				return listSagas(ctx, a, t, f, s.limit, asJSON)
			})
		},
	}
	s.register(c.Flags(), 20, "how many at most", "only those in these states: "+join(sagaStates))
	c.Flags().BoolVar(&unknown, "unknown-outside", false, "only those with a step whose effect outside its database is not known")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func listSagas(ctx context.Context, a *app, t *temporalServer, f sagaFilter, limit int, asJSON bool) error {
	rows := []sagaRow{}
	more := false
	err := eachSaga(ctx, t, f, min(max(limit+1, 10), deadPage), func(r sagaRow) bool {
		if more = len(rows) == limit; !more {
			rows = append(rows, r)
		}
		return !more
	})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		a.noteGroup(ctx, t, f.group)
		a.noteSaga(ctx, t, f.name)
	}
	if more {
		printf(a.Err, "There are more than %d: raise --limit, or narrow it down.\n", limit)
	}
	tellSagas(ctx, t, rows)
	if asJSON {
		return printJSON(a.Out, rows)
	}
	return printSagaRows(a.Out, rows, a.Now())
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
