package cli

import (
	"slices"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaAct is what an operator can ask of sagas.
type sagaAct struct {
	name        string // the Update's, too
	short, long string
	said        verdict  // that it was done
	step        string   // what --step names; empty: there is none
	needsStep   bool     // it has to be named
	states      []string // of those that a filter selects
	also        []string // states that a filter can be told to select
}

// stuckStates are the states of sagas that wait for an operator to mend them.
var stuckStates = []string{core.StateParked, core.StateCompensationFailed}

var sagaActs = []sagaAct{
	{name: workflows.UpdatePause, short: "Hold sagas: no further step is begun", said: isPaused,
		long: `Hold sagas: what is under way ends, and no further step is begun or undone until
they are resumed. The time limits of replies and answers go on.`,
		states: []string{core.StateRunning, core.StateWaiting},
		also:   []string{core.StateNoWorker, core.StateParked, core.StateCompensating, core.StateCompensationFailed}},
	{name: workflows.UpdateResume, short: "Let paused sagas go on", said: isResumed,
		long:   `Let paused sagas go on where they were.`,
		states: []string{core.StatePaused},
		also:   []string{core.StateNoWorker, core.StateCompensationFailed}},
	{name: workflows.UpdateRetry, short: "Try again now what failed", said: isRetried,
		long: `Try again now what failed, or waits for its next try, with all its tries anew.
In a saga that goes back, it is the Undo that is tried. It ends a pause.`,
		step: "the step to try; default: all that failed", states: stuckStates,
		also: []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateCompensating}},
	{name: workflows.UpdateSkip, short: "Go on without a step", said: isSkipped,
		long: `Go on as if a step had been done, or undone, that failed or waits. Nothing is
done for it: whatever it should have brought about is the operator's to see to.
When the saga goes back later, it is undone like the others.`,
		step: "the step to go on without (required)", needsStep: true, states: stuckStates,
		also: []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateCompensating}},
	{name: workflows.UpdateCompensate, short: "Undo all that sagas did", said: isCompensated,
		long: `Undo all that sagas did, the last step first. One that runs turns back at once.
One that has completed, or whose workflow was ended from outside, is undone by a
second workflow, saga/GROUP/NAME/KEY/undo. To repeat it is safe: nothing is
undone twice. What cannot be undone waits for retry or skip.`,
		states: []string{core.StateParked},
		also: append([]string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateCompensating,
			core.StateCompleted}, lostStates...)},
	{name: workflows.UpdateAnswer, short: "Answer what sagas wait for", said: isAnswered,
		long: `Answer a step that waits for somebody outside, such as an approval, or with
--refuse, say no. An answer may come before its step does.`,
		step: "the step that waits (required)", needsStep: true, states: []string{core.StateWaiting},
		also: []string{core.StateRunning, core.StatePaused, core.StateNoWorker, core.StateParked}},
}

// possible are the states in which the action makes sense.
func (act sagaAct) possible() []string { return append(slices.Clone(act.states), act.also...) }
