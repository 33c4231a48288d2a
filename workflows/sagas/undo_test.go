package sagas_test

import (
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

const minute = time.Minute

// undoOf is the input that undoes a saga which has ended so.
func undoOf(in sagas.Input, s sagas.Status, terminated bool) sagas.Input {
	in.Undo = &sagas.UndoOf{RunID: "r-1", Operator: "ann", Reason: "the customer withdrew", Terminated: terminated}
	in.Resumed, in.Data, in.Plan = &s, nil, nil
	return in
}

func TestSagaUndoneAfterCompletion(t *testing.T) {
	first := stageOf(t, sagaOf(localStep("a"), messageStep("stock"), localStep("b")))
	done := first.run()
	p := stageOf(t, undoOf(first.in, done, false))
	p.on("undo stock", oops, wellDone)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"undo b", "undo stock", "undo stock", "undo a"}, p.calls)
	require.Equal(t, "ann: the customer withdrew", p.steps[0].Cause)
	require.Equal(t, first.in.ID, p.steps[0].Saga.ID)
	require.JSONEq(t, `{"amount":5,"a":1,"b":1}`, string(p.steps[0].Data))
	require.Equal(t, []string{"compensate", "undo-failed stock"}, sagaStory(s))

	again := stageOf(t, undoOf(first.in, s, false))
	s = again.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Empty(t, again.calls, "nothing is left to undo")
}

// Of a saga whose workflow was terminated, whatever may have been done is undone.
func TestSagaUndoneAfterTermination(t *testing.T) {
	first := stageOf(t, sagaOf(localStep("a"), waitStep("ok"), messageStep("stock"), localStep("b")))
	var then sagas.Status
	first.at(time.Minute, func() { then = first.status() })
	first.ask(2*time.Minute, sagas.UpdateAnswer, ann("ok"))
	first.run()
	require.Equal(t, core.StateWaiting, then.State)

	p := stageOf(t, undoOf(first.in, then, true))
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"undo b", "undo stock", "undo a"}, p.calls)
}

// A saga that was terminated while it went back goes on with that, and undoes what
// refused, too: an operator may have had it asked again.
func TestSagaUndoneAfterTerminationGoingBack(t *testing.T) {
	first := stageOf(t, sagaOf(localStep("a"), localStep("b"), localStep("c")))
	first.on("do c", refusal)
	first.on("undo a", oops)
	var then sagas.Status
	first.at(time.Second/2, func() { then = first.status() })
	first.ask(time.Hour, sagas.UpdateSkip, ann("a"))
	first.run()
	require.Equal(t, core.StateCompensating, then.State)

	p := stageOf(t, undoOf(first.in, then, true))
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"undo c", "undo a"}, p.calls)
}

// Of a saga of which nothing but its input is known, everything may have been done.
func TestSagaUndoneFromItsInput(t *testing.T) {
	in := sagaOf(localStep("a"), localStep("b"))
	in.Undo = &sagas.UndoOf{Operator: "ann", Reason: "lost", Terminated: true}
	p := stageOf(t, in)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"undo b", "undo a"}, p.calls)
	require.JSONEq(t, `{"amount":5}`, string(p.steps[0].Data))
}

// What is asked of a saga before it has a workflow is done before its first step.
func TestSagaBeginsWithWhatIsAsked(t *testing.T) {
	begin := func(action string, req sagas.Request) *play {
		in := sagaOf(localStep("a"), waitStep("approve"), localStep("b"))
		in.Again, in.Asked = true, &sagas.Asked{Action: action, Request: req}
		return stageOf(t, in)
	}
	for name, row := range map[string]struct {
		action string
		req    sagas.Request
		later  []string // steps done after it has been resumed
	}{
		"pause":       {sagas.UpdatePause, ann(""), []string{"do a", "do b"}},
		"what cannot": {sagas.UpdateSkip, ann("x"), []string{"do a", "do b"}},
		"nothing":     {"do the dishes", ann(""), []string{"do a", "do b"}},
	} {
		p := begin(row.action, row.req)
		p.at(time.Minute, func() { require.Equal(t, core.StatePaused, p.status().State, name); require.Empty(t, p.called()) })
		p.ask(2*time.Minute, sagas.UpdateResume, ann(""))
		p.ask(3*time.Minute, sagas.UpdateAnswer, ann("approve"))
		require.Equal(t, core.StateCompleted, p.run().State, name)
		require.Equal(t, row.later, p.calls, name)
	}
	p := begin(sagas.UpdateSkip, ann("a"))
	p.ask(time.Minute, sagas.UpdateAnswer, ann("approve"))
	require.Equal(t, core.StateCompleted, p.run().State)
	require.Equal(t, []string{"do b"}, p.calls)

	p = begin(sagas.UpdateAnswer, ann("approve"))
	require.Equal(t, core.StateCompleted, p.run().State)
	require.Equal(t, []string{"do a", "do b"}, p.calls)

	p = begin(workflows.UpdateCompensate, ann(""))
	require.Equal(t, core.StateCompensated, p.run().State)
	require.NotContains(t, p.calls, "do a")
}
