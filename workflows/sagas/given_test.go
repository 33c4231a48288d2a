package sagas_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// changes is the outcome of a step that changes this.
func changes(patch string) core.Outcome {
	return core.Outcome{Kind: core.OutcomeDone, Patch: json.RawMessage(patch)}
}

// given is the state that the last call of that name was given.
func (p *play) given(call string) string {
	p.t.Helper()
	for i := len(p.calls) - 1; i >= 0; i-- {
		if p.calls[i] == call {
			return string(p.steps[i].Data)
		}
	}
	require.Fail(p.t, "no call", call)
	return ""
}

// TestSagaUndoIsGivenWhatItsDoWas: of each kind, through a new run, and in a workflow
// that undoes it after its end.
func TestSagaUndoIsGivenWhatItsDoWas(t *testing.T) {
	message, activity := messageStep("charge"), activityStep("book")
	message.Receives, activity.Receives = true, true
	start := func(end core.Outcome) *play {
		p := stageOf(t, sagaOf(message, activity, localStep("discount"), localStep("end")))
		p.booking(&booking{})
		p.on("do charge", changes(`{"receipt":"r-1"}`))
		p.on("do discount", changes(`{"amount":2}`))
		p.on("do end", end)
		p.on("undo discount", changes(`{"amount":3,"state":"cancelled"}`))
		return p
	}
	requireGiven := func(p *play) {
		require.JSONEq(t, `{"amount":5,"receipt":"r-1","book":"booked"}`, p.given("prepare book"))
		require.JSONEq(t, `{"amount":5,"receipt":"r-1"}`, p.given("undo charge"))
	}
	p := start(refusal)
	s := p.run()
	require.JSONEq(t, `{"amount":3,"receipt":"r-1","book":"booked","state":"cancelled"}`, string(s.Core.Data), "the present state, with what the Undo changed")
	requireGiven(p)

	p = start(noReply)
	p.in.Plan.Steps[3] = waitStep("end")
	p.at(time.Minute, func() { p.SetContinueAsNewSuggested(true) })
	p.at(2*time.Minute, func() { p.SignalWorkflow(sagas.UpdateResume, ann("")) }) // nothing; it wakes the workflow
	next := p.renewed()
	next.booking(&booking{})
	next.signal(time.Minute, workflows.UpdateCompensate, ann(""))
	require.Equal(t, core.StateCompensated, next.run().State)
	requireGiven(next)

	p = start(wellDone)
	ended := p.run()
	require.Equal(t, core.StateCompleted, ended.State)
	undo := stageOf(t, sagas.Input{ID: ended.ID, Group: "shop", Name: "order", Key: "A-1", Plan: p.in.Plan, Resumed: &ended,
		Undo: &sagas.UndoOf{RunID: "1", Operator: "ann", Reason: "sent back"}})
	undo.booking(&booking{})
	require.Equal(t, core.StateCompensated, undo.run().State)
	requireGiven(undo)
}

// TestSagaBegunByAnEarlierVersion: it did not keep what its Dos were given. Their
// Undos are given the state as it is now.
func TestSagaBegunByAnEarlierVersion(t *testing.T) {
	in := sagaOf(messageStep("charge"), localStep("discount"), messageStep("send"))
	in.Renewed, in.Data = true, nil
	in.Resumed = &sagas.Status{Core: core.State{Phase: core.Forwards, Data: json.RawMessage(`{"amount":2}`), Stack: []string{"charge", "discount", "send"},
		Steps: map[string]*core.StepState{"charge": {Status: core.Done, Tries: 1}, "discount": {Status: core.Done, Tries: 1}, "send": {Status: core.Running, Tries: 1, Spent: 1}}}}
	p := stageOf(t, in)
	p.on("do send", refusal)
	p.on("undo discount", changes(`{"amount":1}`))
	require.Equal(t, core.StateCompensated, p.run().State)
	require.JSONEq(t, `{"amount":2}`, p.given("do send"))
	require.JSONEq(t, `{"amount":2}`, p.given("undo discount"))
	require.JSONEq(t, `{"amount":1}`, p.given("undo charge"))
}

// TestSagaTriesAgainWithTheSameState, whatever another branch did meanwhile; what
// takes its result sees the present one.
func TestSagaTriesAgainWithTheSameState(t *testing.T) {
	message := messageStep("charge")
	message.Receives = true
	p := stageOf(t, sagaOf(group(core.Parallel, "both", message, localStep("discount"))))
	p.on("do charge", oops, changes(`{"receipt":"r-1"}`))
	p.on("do discount", changes(`{"amount":2}`))
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, 2, p.tried["do charge"])
	require.JSONEq(t, `{"amount":5}`, p.given("do charge"))
	require.JSONEq(t, `{"amount":2}`, string(p.steps[len(p.steps)-1].Present))
	require.JSONEq(t, `{"amount":2,"receipt":"r-1"}`, string(s.Core.Data))
}

// TestSagaOfWhatSentNothing is not undone, where that is certain.
func TestSagaOfWhatSentNothing(t *testing.T) {
	nothing := forGood
	nothing.Nothing = true
	undone := func(change func(p *play)) []string {
		p := stageOf(t, sagaOf(localStep("a"), messageStep("charge")))
		p.first = map[string]bool{"a": true}
		p.on("do charge", nothing)
		change(p)
		require.Equal(t, core.StateCompensated, p.run().State)
		var out []string
		for _, call := range p.calls {
			if strings.HasPrefix(call, "undo ") {
				out = append(out, call)
			}
		}
		return out
	}
	require.Equal(t, []string{"undo a"}, undone(func(*play) {}))
	require.Equal(t, []string{"undo charge", "undo a"}, undone(func(p *play) { p.on("do charge", oops, nothing) }), "an earlier try may have sent it")
	require.Equal(t, []string{"undo charge", "undo a"}, undone(func(p *play) { p.on("do charge", noReply, nothing) }), "it was published before, in this try")
	require.Equal(t, []string{"undo charge", "undo a"}, undone(func(p *play) { p.first, p.in.Again = nil, true }), "a run that is lost may have sent it")
}

// TestSagaUnknownOutside: an Undo that found nothing is no Undo.
func TestSagaUnknownOutside(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("charge")))
	p.on("do charge", forGood)
	p.on("undo charge", core.Outcome{Kind: core.OutcomeBlocked, Error: "no row"})
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, core.UnknownOutside, s.Core.Steps["charge"].Status)
	require.Equal(t, core.Undone, s.Core.Steps["a"].Status)
	require.Contains(t, s.Story, sagas.Event{At: s.Core.Steps["charge"].UndoEnded, What: "unknown-outside", Step: "charge",
		Text: "its Do was begun and has no row in its database: no Undo was run, and what it did elsewhere is not known"})
}

// TestSagaKeepsNoMoreThanItCan: what it keeps for the Undos of its messages is
// bounded. The step that passes the limit is undone like the others, each with what
// its own Do was given, and the result is what Temporal takes.
func TestSagaKeepsNoMoreThanItCan(t *testing.T) {
	var steps []core.Step
	for _, name := range strings.Split("abcdefgh", "") {
		x := messageStep(name)
		x.Receives = true
		steps = append(steps, x)
	}
	p := stageOf(t, sagaOf(steps...))
	text := func(name string) string { return strings.Repeat(name, 250<<10) }
	for _, x := range steps {
		p.on("do "+x.Name, changes(`{"text":"`+text(x.Name)+`"}`))
	}
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Contains(t, s.Reason, "what the saga keeps for its Undos")
	require.Equal(t, "f", s.Step)
	for i, x := range steps[:5] {
		require.Equal(t, `{"amount":5,"text":"`+text(x.Name)+`"}`, p.given("undo "+x.Name), i)
	}
	data, err := json.Marshal(s)
	require.NoError(t, err)
	require.Less(t, len(data), 2<<20)
	require.Zero(t, s.Core.Kept())
}

// TestSagaEndIsToldWhereItFits: not in a workflow task whose completion may be too
// large; and an Update's answer leaves out what makes it large.
func TestSagaEndIsToldWhereItFits(t *testing.T) {
	of := func(steps ...core.Step) *play {
		p := stageOf(t, sagaOf(steps...))
		for _, x := range steps {
			p.on("do "+x.Name, changes(`{"text":"`+strings.Repeat(x.Name, 250<<10)+`"}`))
		}
		return p
	}
	told := func(p *play) (told bool) {
		p.onCall = func(_ string, s activities.SagaStep) { told = told || s.Last }
		require.Equal(t, core.StateCompleted, p.run().State)
		return told
	}
	require.True(t, told(of(localStep("a"), localStep("b"))))

	steps := []core.Step{}
	for _, name := range strings.Split("abcde", "") {
		x := messageStep(name)
		x.Receives = true
		steps = append(steps, x)
	}
	require.False(t, told(of(steps...)), "what it keeps may pass the limit, and it may go back")

	p := of(localStep("a"), waitStep("ok"))
	answer := p.ask(time.Second, sagas.UpdatePause, ann(""))
	p.signal(time.Minute, workflows.UpdateCompensate, ann(""))
	p.run()
	require.Equal(t, core.StatePaused, answer.status.State)
	require.ErrorIs(t, core.CheckData([]byte(`"`+strings.Repeat("<", 50_000)+`"`)), holdfast.ErrTooLarge, "as it is written: each is six bytes")
}

// TestSagaAnswersBeforeTheirWaits: all together are bounded.
func TestSagaAnswersBeforeTheirWaits(t *testing.T) {
	p := stageOf(t, sagaOf(waitStep("a"), waitStep("b"), waitStep("c"), waitStep("d")))
	var asked []*sagaAnswer
	for i, name := range []string{"b", "c", "d"} {
		req := ann(name)
		req.Value = json.RawMessage(`"` + strings.Repeat("v", 60<<10) + `"`)
		asked = append(asked, p.ask(time.Duration(i+1)*time.Second, sagas.UpdateAnswer, req))
	}
	p.run()
	require.NoError(t, asked[0].rejected)
	require.NoError(t, asked[1].rejected)
	require.ErrorContains(t, asked[2].rejected, "answer step d once it waits")
}

// TestSagaActivityResultTooLarge: the activity was done, and is undone.
func TestSagaActivityResultTooLarge(t *testing.T) {
	p := stageOf(t, sagaOf(activityStep("book")))
	p.in.Plan.Steps[0].Receives = true
	b := &booking{book: func(int) (any, error) { return strings.Repeat("r", activities.MaxInput), nil }}
	p.booking(b)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Contains(t, s.Reason, "answer a reference")
	require.True(t, b.inputs[len(b.inputs)-1].Undo)
}
