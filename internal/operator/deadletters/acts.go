package deadletters

import (
	"context"
	"fmt"
	"slices"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// Act is what an operator can ask of dead letters.
type Act struct {
	Name, Update string // update: empty, if it is no Update
	Short, Long  string
	Force        string   // what --force means; empty: there is none
	States       []string // of those that a filter selects
}

// Acts are the actions on dead letters.
var Acts = []Act{
	{deadflow.UpdateRedeliver, deadflow.UpdateRedeliver, "Put dead letters back into their consumer's queue",
		`Put dead letters back into the queue of the consumer that gave them up, and of
no other, to be tried at once. A message that was redelivered is handled, or
fails again and is parked again: --wait says how long to wait for that.`,
		"redeliver although the last redelivery is not answered yet",
		[]string{string(workflows.Parked), string(workflows.Waits)}},
	{workflows.UpdateCompensate, workflows.UpdateCompensate, "Undo what dead letters were sent for",
		`Run the producer group's Compensate for dead letters, once for each, and then
tell the other consumers of the message. A process of the group has to run;
otherwise it happens as soon as one does, within a day.`,
		"compensate although the last redelivery is not answered yet: the consumer may handle it nevertheless; or, where " +
			"it is parked, although the group's database does not say that this message was committed",
		[]string{string(workflows.Parked), string(workflows.Waits)}},
	{deadflow.UpdateDiscard, deadflow.UpdateDiscard, "Drop dead letters for good",
		`Drop dead letters for good. Nothing is published and nothing is undone. A half
message is dropped only once its producer group says that its transaction is
rolled back: what is committed, or what nobody knows, is refused. Redeliver
that, which is always safe, or use --force.`,
		"discard although the last redelivery is not answered yet, and the consumer may handle it nevertheless; or " +
			"although it is a half message whose transaction is committed, or may be: its messages are then lost",
		[]string{string(workflows.Parked), string(workflows.Waits)}},
	{restart, "", "Start the workflow of lost dead letters again",
		`Start the workflow of dead letters again that was terminated, or failed. It
goes on where it was, but leaves to an operator what was under way then. The
other actions do the same before what they do themselves.`,
		"", server.LostStates},
}

// ActNamed returns the act of that name.
func ActNamed(name string) (act Act, ok bool) {
	i := slices.IndexFunc(Acts, func(act Act) bool { return act.Name == name })
	if i < 0 {
		return Act{}, false
	}
	return Acts[i], true
}

// Possible are the states in which the action makes sense.
func (act Act) Possible(force bool) []string {
	if act.Update == "" {
		return act.States
	}
	states := append(slices.Clone(act.States), server.LostStates...)
	if force {
		states = append(states, string(workflows.Redelivering))
	}
	return states
}

// AnybodyThere says what is missing where no process would answer.
func AnybodyThere(ctx context.Context, t *server.Temporal, rows []Row) error {
	var queues []string
	for _, r := range rows {
		queues = append(queues, r.taskQueue)
	}
	nobody, err := t.Deserted(ctx, queues)
	if err != nil {
		return err
	}
	for q, deserted := range nobody {
		if deserted {
			return text.WithRemedy(fmt.Errorf("no worker serves the task queue %s of dead letters: nothing was done", q),
				"start a process with Temporal, of any group or consumer, and repeat it")
		}
	}
	return nil
}
