package saga

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
)

func newSagaShowCommand(a *frame.App) *cobra.Command {
	var group string
	var data, history bool
	c := a.Showing(&cobra.Command{
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
undone_later, parent, workflow_id, run_id, cohort; status (id, group, name,
version, key, state, step, reason; plan; core: phase, steps, stack, paused,
cause, and with --data the saga's data; answers; story: at, what, step,
operator, text; actions; late); encrypted (why its data is not shown); unknown
(why there is no status) and plan; next; commands; pending (name, attempt,
running, next, error); ui, undoes_ui; history (at, kind, name, summary,
result), history_cut (there is more).`,
		Example: "  holdfast saga show A-1007\n  holdfast saga show order-payment/A-1007 --data --history",
	}, func(ctx context.Context, t *server.Temporal, id string) (frame.Shown, error) {
		found, err := sagas.FindOrBegun(ctx, &a.Config, t, id, group)
		if err != nil {
			return nil, err
		}
		d, err := sagas.Describe(ctx, t, found, data, history, a.Now())
		if err != nil {
			return nil, err
		}
		d.UI = server.UiLink(a.UI, t.Namespace, d.WorkflowID, d.RunID)
		if d.UndoneLater && d.OwnRun != "" {
			d.Undoes = server.UiLink(a.UI, t.Namespace, d.ID, d.OwnRun)
		}
		d.Paint = a.Colours(a.Out)
		return d, nil
	})
	c.Flags().StringVar(&group, "group", "", "the producer group, where ID is NAME/KEY or a key")
	c.Flags().BoolVar(&data, "data", false, "show the saga's state")
	c.Flags().BoolVar(&history, "history", false, "show the steps of its workflow's history, too")
	return c
}
