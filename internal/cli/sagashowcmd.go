package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func newSagaShowCommand(a *app) *cobra.Command {
	var group string
	var data, history bool
	c := a.showing(&cobra.Command{
		Use:   "show ID",
		Short: "Show a saga: its steps, what comes next, what can be done",
		Long: `Show a saga: each step, how it stands, how long it took, how often it was tried,
its error and its Undo; what comes next; what happened beside the usual; and the
commands that are possible now. For what an ID is, see holdfast saga --help.
Where no process of the group answers, its workflow's history is shown instead.

  ✓ done   ▶ under way   ↻ to be tried again   ✗ failed   ⊘ refused
  ↩ undone   ↶ being undone   ‼ could not be undone   » skipped   · not begun
  ◆ the pivot: after it there is no way back   ∥ all at once   → in sequence

JSON: id, group, name, key, version, state, step, reason, started, closed,
undone_later, parent, workflow_id, run_id; status (id, group, name, version,
key, state, step, reason; plan; core: phase, steps, stack, paused, cause, and
with --data the saga's data; answers; story: at, what, step, operator, text;
actions; late); unknown (why there is no status) and plan; next; commands;
pending (name, attempt, running, next, error); ui, undoes_ui; history (at, kind,
name, summary, result), history_cut (there is more).`,
		Example: "  holdfast saga show A-1007\n  holdfast saga show order-payment/A-1007 --data --history",
	}, func(ctx context.Context, t *temporalServer, id string) (shown, error) {
		found, err := findSaga(ctx, t, id, group, a.Prefix)
		if err != nil {
			return nil, err
		}
		d, err := sagaDetailOf(ctx, t, found, data, history, a.Now())
		if err != nil {
			return nil, err
		}
		d.UI = uiLink(a.UI, t.namespace, d.WorkflowID, d.RunID)
		if d.UndoneLater && d.run != "" {
			d.Undoes = uiLink(a.UI, t.namespace, d.ID, d.run)
		}
		d.paint = a.colours(a.Out)
		return d, nil
	})
	c.Flags().StringVar(&group, "group", "", "the producer group, where ID is NAME/KEY or a key")
	c.Flags().BoolVar(&data, "data", false, "show the saga's state")
	c.Flags().BoolVar(&history, "history", false, "show the steps of its workflow's history, too")
	return c
}
