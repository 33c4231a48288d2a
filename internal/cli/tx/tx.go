// Package tx holds the commands on transactions: holdfast tx list, show, start, commit,
// rollback and recheck. What they do is in internal/operator/transactions.
package tx

import (
	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

// New returns the command holdfast tx.
func New(a *frame.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "tx",
		Short: "List, show, start and settle transactions",
		Long: `List, show, start and settle transactions.

An ID is a transaction's ID, a workflow's ID (tx/GROUP/ID) or a business key. A
transaction's ID alone says nothing of its group: without --group it is looked
for in the groups of the 1000 latest transactions, and, if it is a UUIDv7, which
holds its time, among the transactions of that time.

Under load, transactions share a workflow (cohort/GROUP/ID); so do half
messages that the Keeper hands over together (recovery/GROUP/ID). They are
found there as well. One that was slow or in trouble left into a workflow of
its own, tx/GROUP/ID.

States: running (also while its half message is being stored, or the
application has yet to confirm), checking, delivering, parked; committed,
rolled-back, refused (its half message was not stored), left; and failed,
terminated, canceled, timed-out, where the workflow itself was ended from
outside.`,
		Example: "  holdfast tx list --state parked\n  holdfast tx show A-1007\n" +
			"  holdfast tx commit 01927c4e-… --reason \"the bank says so\"\n" +
			"  holdfast tx recheck --group orders --error \"no consumer is bound\" --reason \"the consumer runs\"",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return text.Usagef("say what to do: list, show, start, commit, rollback or recheck")
		},
	}
	c.AddCommand(newTxListCommand(a), newTxShowCommand(a), newTxStartCommand(a))
	for _, act := range transactions.Acts {
		c.AddCommand(newTxActionCommand(a, act))
	}
	return c
}
