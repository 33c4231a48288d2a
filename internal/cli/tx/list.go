package tx

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

func newTxListCommand(a *frame.App) *cobra.Command {
	var x txFlags
	var since time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List transactions",
		Long: `List transactions: those that are open first, then those that ended last. What
a transaction became is in its workflow's result, which is read for each one. A
transaction appears here about a second after it began; those that ended are
found for as long as the Temporal namespace keeps them. Each has one row, also
where several share a workflow; one that left its workflow is listed where it
goes on, and where it left only with --state left. In the Express lane, only
what was handed over is listed. Why one is in trouble is asked of a process of
the group, and is missing where none answers.

JSON: an array of tx, group, state, reason, topics, keys, started, closed,
workflow_id, run_id.`,
		Example: "  holdfast tx list --group orders --state parked\n  holdfast tx list --key A-1007 --json\n" +
			"  holdfast tx list --since 1h --topic order.placed",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := x.filter(a)
			if err != nil {
				return err
			}
			if err := x.CheckLimit(); err != nil {
				return err
			}
			f.Reasons = true
			if since > 0 {
				f.Since = a.Now().Add(-since)
			}
			return a.WithTemporal(cmd.Context(), func(ctx context.Context, t *server.Temporal) error {
				rows, more, err := transactions.List(ctx, t, f, x.Limit)
				if err != nil {
					return err
				}
				if len(rows) == 0 {
					a.NoteGroup(ctx, t, f.Group)
				}
				if more != "" {
					text.Printf(a.Err, "%s\n", more)
				}
				return frame.Print(a, rows, asJSON, transactions.PrintRows)
			})
		},
	}
	flags := c.Flags()
	x.register(flags, 20, "how many at most", "only those in these states: "+strings.Join(transactions.States, ", "))
	flags.DurationVar(&since, "since", 0, "as --newer-than")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	c.MarkFlagsMutuallyExclusive("since", "newer-than")
	return c
}
