package sagas

import (
	"slices"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// Act is what an operator can ask of sagas.
type Act struct {
	Name        string // the Update's, too
	Short, Long string
	said        actions.Verdict // that it was done
	Step        string          // what --step names; empty: there is none
	NeedsStep   bool            // it has to be named
	States      []string        // of those that a filter selects
	also        []string        // states that a filter can be told to select
}

// stuckStates are the states of sagas that wait for an operator to mend them.
var stuckStates = []string{core.StateParked, core.StateCompensationFailed}

// Acts are the actions on sagas.
var Acts = []Act{
	{Name: sagaflow.UpdatePause, Short: "Hold sagas: no further step is begun", said: actions.Paused,
		Long: `Hold sagas: what is under way ends, and no further step is begun or undone until
they are resumed. The time limits of replies and answers go on.`,
		States: []string{core.StateRunning, core.StateWaiting},
		also:   []string{core.StateNoWorker, core.StateParked, core.StateCompensating, core.StateCompensationFailed}},
	{Name: sagaflow.UpdateResume, Short: "Let paused sagas go on", said: actions.Resumed,
		Long:   `Let paused sagas go on where they were.`,
		States: []string{core.StatePaused},
		also:   []string{core.StateNoWorker, core.StateCompensationFailed}},
	{Name: sagaflow.UpdateRetry, Short: "Try again now what failed", said: actions.Retried,
		Long: `Try again now what failed, or waits for its next try, with all its tries anew.
In a saga that goes back, it is the Undo that is tried. It ends a pause.`,
		Step: "the step to try; default: all that failed", States: stuckStates,
		also: []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateCompensating}},
	{Name: sagaflow.UpdateSkip, Short: "Go on without a step", said: actions.Skipped,
		Long: `Go on as if a step had been done, or undone, that failed or waits. Nothing is
done for it: whatever it should have brought about is the operator's to see to.
When the saga goes back later, it is undone like the others.`,
		Step: "the step to go on without (required)", NeedsStep: true, States: stuckStates,
		also: []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateCompensating}},
	{Name: workflows.UpdateCompensate, Short: "Undo all that sagas did", said: actions.Compensated,
		Long: `Undo all that sagas did, the last step first. One that runs turns back at once.
One that has completed, or whose workflow was ended from outside, is undone by a
second workflow, saga/GROUP/NAME/KEY/undo. To repeat it is safe: nothing is
undone twice. What cannot be undone waits for retry or skip.`,
		States: []string{core.StateParked},
		also: append([]string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker,
			core.StateCompensating,
			core.StateCompleted}, server.LostStates...)},
	{Name: sagaflow.UpdateAnswer, Short: "Answer what sagas wait for", said: actions.Answered,
		Long: `Answer a step that waits for somebody outside, such as an approval, or with
--refuse, say no. An answer may come before its step does.`,
		Step: "the step that waits (required)", NeedsStep: true, States: []string{core.StateWaiting},
		also: []string{core.StateRunning, core.StatePaused, core.StateNoWorker, core.StateParked}},
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
func (act Act) Possible() []string { return append(slices.Clone(act.States), act.also...) }
