package tx

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

func newTxShowCommand(a *frame.App) *cobra.Command {
	var group string
	var body bool
	c := a.Showing(&cobra.Command{
		Use:   "show ID",
		Short: "Show where a transaction stands, and how it came there",
		Long: `Show where a transaction stands, its messages, and the steps of its workflow's
history. ID is a transaction's ID, a workflow's ID (tx/GROUP/ID) or a business
key; for where an ID is looked for, see holdfast tx --help. A transaction that
shares its workflow is shown with its own steps; the workflow's ID
(cohort/GROUP/ID, recovery/GROUP/ID) shows all that share it. One that left is
shown where it goes on.

A transaction in the Express lane has no history where all went well. What its
outcome row says is shown then, if DATABASE_URL is the producers' database.

JSON: tx, group, state, reason, topics, keys, started, closed, workflow_id,
run_id; transactions (id, state, resolution, reason, decided, checks, unreached,
topics, keys); unknown (why these are not known); messages (id, topic, key,
content_type, headers, size, and with --body text or base64; encrypted: why
there is neither); commands (what can be done now); steps (at, kind, name,
summary, result); steps_cut (there are more); ui; shared (how many share the
workflow); left_from (the workflow that it left); outcome (resolution,
created_at: the outcome row, where there is no workflow).`,
		Example: "  holdfast tx show A-1007\n  holdfast tx show 01927c4e-6f0e-7cc3-98c4-dc0c0c07398f --group orders --body",
	}, func(ctx context.Context, t *server.Temporal, id string) (frame.Shown, error) {
		return transactions.Show(ctx, &a.Config, t, id, group, body)
	})
	c.Flags().StringVar(&group, "group", "", "the producer group, where ID is a transaction's")
	c.Flags().BoolVar(&body, "body", false, "show the messages' bodies")
	return c
}
