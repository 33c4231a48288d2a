package sagas_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestSagaPauseAndResume(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock"), localStep("b")))
	p.on("do stock", noReply)
	paused := p.ask(2*time.Second, sagas.UpdatePause, ann(""))
	p.reply(3*time.Second, "stock", core.OutcomeDone)
	p.at(time.Hour, func() {
		s := p.status()
		require.Equal(t, core.StatePaused, s.State)
		require.Equal(t, "ann: because", s.Reason)
		require.Equal(t, []string{"do a", "do stock"}, p.called(), "what was under way has ended")
	})
	p.ask(2*time.Hour, sagas.UpdateResume, ann(""))
	s := p.run()
	require.Equal(t, core.StatePaused, paused.status.State)
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"do a", "do stock", "do b"}, p.calls)
	require.Equal(t, []string{"pause", "resume"}, sagaStory(s))
}

// TestSagaPauseWhileRetrying: the pause before a try may end while the saga is
// paused; the try begins on resume.
func TestSagaPauseWhileRetrying(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a")))
	p.on("do a", oops, wellDone)
	p.ask(500*time.Millisecond, sagas.UpdatePause, ann(""))
	p.at(time.Hour, func() { require.Len(t, p.called(), 1) })
	p.ask(2*time.Hour, sagas.UpdateResume, ann(""))
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Len(t, p.calls, 2)
}

func TestSagaRetryNow(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a")))
	p.in.Plan.Steps[0].Retry = core.Retry{First: time.Hour}
	p.on("do a", oops, wellDone)
	begin := p.Now()
	p.ask(time.Minute, sagas.UpdateRetry, ann("a"))
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Less(t, p.Now().Sub(begin), 2*time.Minute)
}

func TestSagaCompensatedByOperator(t *testing.T) {
	pivot, stock, note, ok := localStep("a"), messageStep("stock"), localStep("note"), waitStep("ok")
	pivot.Pivot = true
	note.Undo = false
	ok.OnFailure = core.Park
	p := stageOf(t, sagaOf(pivot, note, stock, ok))
	a := p.ask(time.Minute, workflows.UpdateCompensate, ann(""))
	s := p.run()
	require.NoError(t, a.err)
	require.Equal(t, core.StateCompensating, a.status.State, "it answers when the saga has turned back")
	require.Equal(t, []string{"compensate", "not-undone"}, sagaStory(a.status))
	require.Equal(t, "no Undo, stays done: note", a.status.Story[1].Text)
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"do a", "do note", "do stock", "undo stock", "undo a"}, p.calls)
	require.Equal(t, "ann", s.Core.Cause.Operator)
}

// A request to cancel the workflow is an operator's compensate.
func TestSagaCancelled(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock"), localStep("b")))
	p.on("do stock", noReply)
	p.at(2*time.Second, p.CancelWorkflow)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"do a", "do stock", "undo stock", "undo a"}, p.calls)
	require.Equal(t, "Temporal: the workflow was asked to cancel", s.Reason)
	require.Equal(t, []string{"compensate"}, sagaStory(s))
}

func TestSagaCancelledWhileCompensating(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), localStep("b")))
	p.on("do b", refusal)
	p.on("undo a", oops, wellDone)
	p.at(500*time.Millisecond, p.CancelWorkflow)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"refused b", "undo-failed a", "rejected"}, sagaStory(s))
}

// TestSagaRefusals: what is refused, and why, as an Update and as a signal.
func TestSagaRefusals(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), waitStep("ok"), localStep("b")))
	anonymous := sagas.Request{Operator: "ann"}
	valued := ann("")
	valued.Value = json.RawMessage(`1`)
	for _, x := range []struct {
		name string
		req  sagas.Request
		want string
	}{
		{sagas.UpdatePause, anonymous, "say who asks and why"},
		{sagas.UpdatePause, ann("a"), `pause is for the saga as a whole: leave out the step "a"`},
		{sagas.UpdatePause, valued, `"refuse" and "value" are for answer`},
		{sagas.UpdateResume, ann(""), "waiting and not paused: nothing to resume"},
		{sagas.UpdateRetry, ann(""), "nothing to retry"},
		{sagas.UpdateRetry, ann("a"), "step a is done: only what failed can be retried"},
		{sagas.UpdateRetry, ann("x"), "there is no step x in saga order version 1"},
		{sagas.UpdateSkip, ann(""), "name the step to skip"},
		{sagas.UpdateSkip, ann("a"), "step a is done while the saga is waiting"},
		{sagas.UpdateAnswer, ann("b"), `there is no wait "b" in saga order: it has ok`},
	} {
		a := p.ask(time.Second, x.name, x.req)
		p.signal(2*time.Second, x.name, x.req)
		p.at(3*time.Second, func() {
			require.ErrorContains(t, a.rejected, x.want, x.name)
			require.Zero(t, a.status)
		})
	}
	p.at(4*time.Second, func() {
		s := p.status()
		require.Equal(t, core.StateWaiting, s.State)
		require.Len(t, s.Story, 10)
		require.Equal(t, "rejected", s.Story[0].What)
	})
	p.ask(5*time.Second, sagas.UpdateSkip, ann("ok"))
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, core.Skipped, s.Core.Steps["ok"].Status)
}

// Operators who come at the same time: what lets the saga go on comes first.
func TestSagaOrderOfOperators(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), waitStep("ok"), localStep("b"), waitStep("last")))
	p.SetCurrentHistoryLength(lostTask)
	p.onCall = func(call string, _ activities.SagaStep) {
		if call == "do a" {
			p.UpdateWorkflowNoRejection(workflows.UpdateCompensate, "", t, ann(""))
			p.SignalWorkflow(sagas.UpdateAnswer, ann("ok"))
		}
	}
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, p.calls, "the answer was first, and what came of it")
	require.Equal(t, []string{"answer ok", "compensate"}, sagaStory(s))
}

func TestNoSagaIsSteeredAsHoldfast(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock")))
	p.on("do stock", noReply)
	req := ann("")
	req.Operator = "Policy"
	refused := p.ask(time.Second, workflows.UpdateCompensate, req)
	require.Empty(t, p.run().Core.Cause.Operator)
	require.ErrorContains(t, refused.rejected, `the operator cannot be "Policy"`)
}
