package sagas_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
)

func TestSagaReplySignalled(t *testing.T) {
	p := stageOf(t, sagaOf(messageStep("stock"), localStep("b")))
	p.in.Plan.Steps[0].Receives = true
	p.on("do stock", noReply)
	p.signal(3*time.Second, sagas.SignalReply, sagas.Reply{Step: "stock", Outcome: core.OutcomeDone, Result: json.RawMessage(`{"shelf":7}`)})
	p.at(2*time.Second, func() {
		s := p.status()
		require.Equal(t, core.StateRunning, s.State)
		require.Equal(t, core.Running, s.Core.Steps["stock"].Status)
	})
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.JSONEq(t, `{"amount":5,"stock":{"shelf":7},"b":1}`, string(s.Core.Data))
	require.Equal(t, []string{"do stock", "receive stock", "do b"}, p.calls)
	require.Equal(t, time.Second, p.steps[0].Wait)
	require.Zero(t, s.Late)
}

// A reply that is lost is asked for again, and the participant gives it once more.
func TestSagaAsksAgain(t *testing.T) {
	p := stageOf(t, sagaOf(messageStep("stock")))
	p.in.Plan.Steps[0].Conditional = true
	p.on("do stock", noReply, noReply, noReply, noReply, noReply, wellDone)
	var at []time.Duration
	begin := p.Now()
	p.onCall = func(string, activities.SagaStep) { at = append(at, p.Now().Sub(begin).Truncate(time.Second)) }
	p.in.Plan.Steps[0].Timeout = time.Hour
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []time.Duration{0, 10 * time.Second, 40 * time.Second, 100 * time.Second, 220 * time.Second, 520 * time.Second}, at)
	require.Equal(t, []bool{true, false, false, false, false, false}, p.local)
	require.Len(t, p.alerts, 1, "somebody is told, once")
	require.Equal(t, holdfast.AlertWaiting, p.alerts[0].Kind)
	require.Contains(t, p.alerts[0].Reason, "step stock, waits for the reply of stock.do since ")
	for i, x := range p.steps {
		require.Equal(t, 1, x.Try, "it is the same try")
		require.Equal(t, i == 0, x.Step.Conditional, "the condition is asked once")
		require.Equal(t, i == 0, x.Last, "later the saga may turn back before it knows")
	}
	require.Equal(t, 1, s.Core.Steps["stock"].Tries)
}

// An operator need not wait until the participant is asked again by itself.
func TestSagaAsksAtOnce(t *testing.T) {
	for _, how := range []string{"Update", "signal"} {
		t.Run(how, func(t *testing.T) {
			p := stageOf(t, sagaOf(messageStep("stock")))
			p.on("do stock", noReply, noReply, wellDone)
			p.in.Plan.Steps[0].Timeout = time.Hour
			var at []time.Duration
			begin := p.Now()
			p.onCall = func(string, activities.SagaStep) { at = append(at, p.Now().Sub(begin).Truncate(time.Second)) }
			if how == "signal" {
				p.signal(15*time.Second, sagas.UpdateRetry, ann(""))
			} else {
				answer := p.ask(15*time.Second, sagas.UpdateRetry, ann("stock"))
				defer func() { require.NoError(t, answer.err) }()
			}
			s := p.run()
			require.Equal(t, core.StateCompleted, s.State)
			require.Equal(t, []time.Duration{0, 10 * time.Second, 15 * time.Second}, at)
			require.Equal(t, 1, s.Core.Steps["stock"].Tries, "it is the same try")
		})
	}
}

// A late reply to an earlier try does not count where the step itself was answered.
func TestSagaDoneBesideALateReply(t *testing.T) {
	p := stageOf(t, sagaOf(messageStep("stock")))
	p.in.Plan.Steps[0].Retry = core.Retry{Attempts: 1}
	p.hang = func(_ context.Context, call string, _ int) {
		if call == "do stock" {
			p.reply(0, "stock", core.OutcomeFailed)
			time.Sleep(100 * time.Millisecond) // it is heard meanwhile
		}
	}
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, 1, s.Core.Steps["stock"].Tries)
}

func TestSagaReplyTimesOut(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock")))
	p.in.Plan.Steps[1].Timeout = 15 * time.Second
	p.in.Plan.Steps[1].Retry = core.Retry{Attempts: 1}
	unbound := noReply
	unbound.Error = "no participant is bound to topic stock.do: start it"
	p.on("do stock", noReply, unbound)
	p.reply(time.Hour, "stock", core.OutcomeDone)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"do a", "do stock", "do stock", "do stock", "undo stock", "undo a"}, p.calls, "it is asked once more before that")
	require.Equal(t, holdfast.ClassTimeout, s.Core.Cause.Class)
	require.Equal(t, "no reply from stock.do within 15s: no participant is bound to topic stock.do: start it", s.Core.Cause.Reason)
}

// What a participant answers: each outcome, as a signal.
func TestSagaReplyOutcomes(t *testing.T) {
	for outcome, want := range map[core.OutcomeKind]struct {
		state string
		calls []string
		cause string
	}{
		core.OutcomeRefused: {core.StateCompensated, []string{"do a", "do stock", "undo a"}, "says stock"},
		core.OutcomeBlocked: {core.StateCompensated, []string{"do a", "do stock", "undo stock", "undo a"}, "says stock"},
		core.OutcomeFailed:  {core.StateCompensated, []string{"do a", "do stock", "do stock", "undo stock", "undo a"}, "says stock"},
		"nonsense":          {core.StateCompensated, []string{"do a", "do stock", "undo stock", "undo a"}, `the participant's reply has the unknown outcome "nonsense"`},
	} {
		t.Run(string(outcome), func(t *testing.T) {
			p := stageOf(t, sagaOf(localStep("a"), messageStep("stock")))
			p.in.Plan.Steps[1].Retry = core.Retry{Attempts: 2}
			p.on("do stock", noReply)
			p.reply(2*time.Second, "stock", outcome)
			p.reply(6*time.Second, "stock", outcome)
			s := p.run()
			require.Equal(t, want.state, s.State)
			require.Equal(t, want.calls, p.calls)
			require.Equal(t, want.cause, s.Core.Cause.Reason)
		})
	}
}

// Replies that nobody waits for do no harm: a second one, one for another step, one
// for an Undo, one of an unknown step, one that comes too late.
func TestSagaLateReplies(t *testing.T) {
	p := stageOf(t, sagaOf(messageStep("stock"), waitStep("ok"), messageStep("pay")))
	p.on("do stock", noReply)
	p.reply(2*time.Second, "pay", core.OutcomeRefused)
	p.reply(2*time.Second, "nothing", core.OutcomeRefused)
	p.reply(2*time.Second, "ok", core.OutcomeRefused)
	p.signal(2*time.Second, sagas.SignalReply, sagas.Reply{Step: "stock", Undo: true, Outcome: core.OutcomeFailed})
	p.reply(3*time.Second, "stock", core.OutcomeDone)
	p.reply(3*time.Second, "stock", core.OutcomeRefused)
	p.reply(4*time.Second, "stock", core.OutcomeRefused)
	p.reply(4*time.Second, "ok", core.OutcomeRefused)
	p.ask(5*time.Second, sagas.UpdateAnswer, ann("ok"))
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"do stock", "do pay"}, p.calls)
	require.Equal(t, 7, s.Late)
}

// TestSagaReplyBeforePending: the reply comes while the step still publishes. Of two,
// the first counts. The last step is not called before both were sent.
func TestSagaReplyBeforePending(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock"), localStep("b")))
	p.on("do stock", oops, noReply) // the second try is a regular activity
	p.on("undo stock", noReply)
	p.onCall = func(call string, _ activities.SagaStep) {
		if call == "do stock" && p.tried[call] == 2 {
			p.SignalWorkflow(sagas.SignalReply, sagas.Reply{Step: "stock", Outcome: core.OutcomeDone})
			p.SignalWorkflow(sagas.SignalReply, sagas.Reply{Step: "stock", Outcome: core.OutcomeRefused})
		}
	}
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, 1, s.Late)
	require.Equal(t, []string{"do a", "do stock", "do stock", "do b"}, p.calls)
}

func TestSagaUndoReply(t *testing.T) {
	p := stageOf(t, sagaOf(messageStep("stock"), localStep("b")))
	p.on("do b", refusal)
	p.on("undo stock", noReply)
	p.reply(2*time.Second, "stock", core.OutcomeRefused) // of the Do
	p.signal(4*time.Second, sagas.SignalReply, sagas.Reply{Step: "stock", Undo: true, Outcome: core.OutcomeDone})
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"do stock", "do b", "undo stock"}, p.calls)
	require.Equal(t, 1, s.Late)
}

// An Undo that the participant has given up is tried again, and in the end waits
// for an operator.
func TestSagaUndoFails(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock"), localStep("b")))
	p.on("do b", refusal)
	p.on("undo stock", oops)
	p.at(time.Hour, func() {
		s := p.status()
		require.Equal(t, core.StateCompensationFailed, s.State)
		require.Equal(t, "stock", s.Step)
		require.Equal(t, "oops", s.Reason)
		require.ElementsMatch(t, []string{sagas.UpdateRetry, sagas.UpdateSkip, sagas.UpdatePause}, s.Actions)
		require.Equal(t, "undo a", p.calls[len(p.calls)-1], "the others are undone nevertheless")
		p.on("undo stock", wellDone)
	})
	p.ask(time.Hour+time.Second, sagas.UpdateRetry, ann("stock"))
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, core.UndoAttempts+1, p.tried["undo stock"])
	require.Len(t, p.alerts, 1)
	require.Equal(t, "step stock could not be undone: oops", p.alerts[0].Reason)
	require.Contains(t, p.alerts[0].Remedy, "holdfast saga skip saga/shop/order/A-1 --step stock")
	require.Equal(t, []string{"refused b", "undo-failed stock", "compensation-failed stock", "retry stock"}, sagaStory(s))
}

// A reply that comes in the pause between two tries is late: the next try asks for
// it.
func TestSagaReplyBetweenTries(t *testing.T) {
	p := stageOf(t, sagaOf(messageStep("stock")))
	p.on("do stock", oops, wellDone)
	p.reply(time.Second/2, "stock", core.OutcomeDone)
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, 1, s.Late)
}
