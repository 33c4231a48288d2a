package transactions

import (
	"slices"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// Act is what an operator can ask of transactions.
type Act struct {
	Name        string // the Update's, too
	Short, Long string
	Force       bool     // --force makes sense
	States      []string // of those that a filter selects
	also        []string // states that a filter can be told to select
}

// Acts are the actions on transactions.
var Acts = []Act{
	{txflow.UpdateCommit, "Decide that local transactions committed",
		`Decide that a transaction's local transaction committed, and deliver its
messages. The database is asked first: it is refused if that says otherwise.`,
		true, []string{string(workflows.Parked)}, []string{string(workflows.Checking)}},
	{txflow.UpdateRollback, "Decide that local transactions rolled back",
		`Decide that a transaction's local transaction rolled back: its messages are
forgotten, and it can never commit later. The database is asked first: it is
refused if that says otherwise.`,
		true, []string{string(workflows.Parked)}, []string{string(workflows.Checking)}},
	{txflow.UpdateRecheck, "Check back, or try to deliver, now instead of later",
		`Check back, or try to deliver, now instead of later. A transaction whose
workflow was terminated, or failed, is taken up again in a new one; with the ID
of a workflow that was shared, all that it left undecided are, and their ends
are not waited for.`,
		false, []string{string(workflows.Parked), string(workflows.Delivering)}, append([]string{string(workflows.Checking)},
			server.LostStates...)},
}

// Possible are the states in which the action makes sense.
func (act Act) Possible() []string { return append(slices.Clone(act.States), act.also...) }
