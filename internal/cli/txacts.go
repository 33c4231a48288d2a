package cli

import (
	"slices"

	"github.com/holdfastmq/holdfast/workflows"
)

// txAct is what an operator can ask of transactions.
type txAct struct {
	name        string // the Update's, too
	short, long string
	force       bool     // --force makes sense
	states      []string // of those that a filter selects
	also        []string // states that a filter can be told to select
}

var txActs = []txAct{
	{workflows.UpdateCommit, "Decide that local transactions committed",
		`Decide that a transaction's local transaction committed, and deliver its
messages. The database is asked first: it is refused if that says otherwise.`,
		true, []string{string(workflows.Parked)}, []string{string(workflows.Checking)}},
	{workflows.UpdateRollback, "Decide that local transactions rolled back",
		`Decide that a transaction's local transaction rolled back: its messages are
forgotten, and it can never commit later. The database is asked first: it is
refused if that says otherwise.`,
		true, []string{string(workflows.Parked)}, []string{string(workflows.Checking)}},
	{workflows.UpdateRecheck, "Check back, or try to deliver, now instead of later",
		`Check back, or try to deliver, now instead of later. A transaction whose
workflow was terminated, or failed, is taken up again in a new one; with the ID
of a workflow that was shared, all that it left undecided are, and their ends
are not waited for.`,
		false, []string{string(workflows.Parked), string(workflows.Delivering)}, append([]string{string(workflows.Checking)}, lostStates...)},
}

// possible are the states in which the action makes sense.
func (act txAct) possible() []string { return append(slices.Clone(act.states), act.also...) }
