package transactions

import (
	"fmt"
	"slices"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// ActNamed returns the act of that name.
func ActNamed(name string) (act Act, ok bool) {
	i := slices.IndexFunc(Acts, func(act Act) bool { return act.Name == name })
	if i < 0 {
		return Act{}, false
	}
	return Acts[i], true
}

// Name is an ID by which the transaction is found, wherever it is; of a workflow that several
// share, where none of them is meant, the workflow's.
func (r Row) Name() string { return r.Target().Name() }

// acts are the names of the acts on a transaction that make sense now, without force.
func (d *Detail) acts(m txflow.MemberStatus) []string {
	acts := m.Actions
	switch {
	case m.State.Final():
	case server.ClosedStates[d.State] != 0:
		acts = []string{txflow.UpdateRecheck}
	case len(acts) > 0 || m.State != workflows.Parked: // a process that runs an older version does not say
	case m.Resolution == holdfast.Unknown:
		acts = []string{txflow.UpdateCommit, txflow.UpdateRollback, txflow.UpdateRecheck}
	default:
		acts = []string{txflow.UpdateRecheck}
	}
	return acts
}

// choose notes what can be asked for now: of acts, those that operators know.
func (d *Detail) choose(acts []string) {
	d.Lost = server.ClosedStates[d.State] != 0
	for _, name := range acts {
		if _, ok := ActNamed(name); ok {
			d.Choices = append(d.Choices, name)
		}
	}
}

// Effects say what an act would do, in sentences.
func (d *Detail) Effects(act string) []string {
	asked := fmt.Sprintf("The database of group %s is asked first. If it says otherwise, or cannot be asked, "+
		"nothing is done.", d.Group)
	switch act {
	case txflow.UpdateCommit:
		return []string{asked, "Then its local transaction counts as committed, for good.", d.delivers()}
	case txflow.UpdateRollback:
		return []string{asked, "Then its local transaction counts as rolled back, for good: it can never commit later.",
			"Its messages are forgotten: nobody gets them."}
	case txflow.UpdateRecheck:
		return d.rechecks()
	}
	return nil
}

// delivers says which messages are delivered.
func (d *Detail) delivers() string {
	if len(d.Messages) == 0 {
		return "Its messages are delivered."
	}
	topics := make([]string, 0, len(d.Messages))
	for _, m := range d.Messages {
		topics = append(topics, m.Topic)
	}
	slices.Sort(topics)
	return fmt.Sprintf("%s delivered: %s.", messagesAre(len(d.Messages)), text.Few(slices.Compact(topics)))
}

func messagesAre(n int) string {
	if n == 1 {
		return "Its message is"
	}
	return fmt.Sprintf("Its %d messages are", n)
}

func (d *Detail) rechecks() []string {
	switch {
	case d.Lost && len(d.Transactions) != 1:
		return []string{"Its workflow was ended from outside. All transactions that it left undecided are taken up, " +
			"each in a workflow of its own, which begins with a check-back."}
	case d.Lost:
		return []string{"Its workflow was ended from outside. It is taken up in a new one, which begins with a check-back.",
			"What the check-back says becomes of it: it is delivered, or rolled back, or it waits for a person again."}
	case len(d.Transactions) == 1 && d.Transactions[0].Resolution == holdfast.Commit:
		return []string{"Its local transaction has committed. " + d.delivers(), "What cannot be delivered waits again."}
	}
	return []string{"It is checked back now: the outcome row, or the Checker, of group " + d.Group + " is asked.",
		"What that says becomes of it: it is delivered, or rolled back, or it waits for a person again."}
}
