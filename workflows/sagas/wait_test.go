package sagas_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

func TestSagaAnswered(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), waitStep("ok"), localStep("b")))
	p.in.Plan.Steps[1].Receives = true
	req := ann("ok")
	req.Value = json.RawMessage(`"by card"`)
	p.at(2*time.Second, func() {
		s := p.status()
		require.Equal(t, core.StateWaiting, s.State)
		require.Equal(t, "ok", s.Step)
		require.Contains(t, s.Actions, sagas.UpdateAnswer)
	})
	a := p.ask(3*time.Second, sagas.UpdateAnswer, req)
	s := p.run()
	require.NoError(t, a.err)
	require.Equal(t, core.StateCompleted, s.State)
	require.JSONEq(t, `{"amount":5,"a":1,"ok":"by card","b":1}`, string(s.Core.Data))
	require.Equal(t, []string{"answer ok"}, sagaStory(s))
}

func TestSagaAnsweredNo(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), waitStep("ok"), localStep("b")))
	req := ann("ok")
	req.Refuse = true
	p.signal(3*time.Second, sagas.UpdateAnswer, req)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.True(t, s.Core.Cause.Refused)
	require.Equal(t, "ann: because", s.Core.Cause.Reason)
	require.Equal(t, []string{"do a", "undo a"}, p.calls)
}

func TestSagaNotAnswered(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), waitStep("ok")))
	p.in.Plan.Steps[1].Timeout = time.Hour
	late := p.ask(time.Hour+time.Second, sagas.UpdateAnswer, ann("ok"))
	p.on("undo a", oops, wellDone)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, holdfast.ClassTimeout, s.Core.Cause.Class)
	require.Equal(t, "no answer within 1h0m0s", s.Core.Cause.Reason)
	require.Equal(t, 1, s.Core.Steps["ok"].Tries, "a timeout is for good")
	require.ErrorContains(t, late.rejected, "step ok is not waited for any more")
}

// An answer may come before its wait; one is enough.
func TestSagaAnsweredEarly(t *testing.T) {
	p := stageOf(t, sagaOf(messageStep("stock"), waitStep("ok"), localStep("b")))
	p.on("do stock", noReply)
	first := p.ask(time.Second, sagas.UpdateAnswer, ann("ok"))
	second := p.ask(2*time.Second, sagas.UpdateAnswer, ann("ok"))
	p.signal(2*time.Second, sagas.UpdateAnswer, ann("ok"))
	other := p.ask(2*time.Second, sagas.UpdateAnswer, ann("stock"))
	p.at(3*time.Second, func() { require.Len(t, p.status().Answers, 1) })
	p.reply(4*time.Second, "stock", core.OutcomeDone)
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.NoError(t, first.err)
	require.ErrorContains(t, second.rejected, "answered already, by ann")
	require.ErrorContains(t, other.rejected, `there is no wait "stock" in saga order: it has ok`)
	require.Empty(t, s.Answers)
	require.Equal(t, []string{"answer ok", "rejected ok"}, sagaStory(s))
}

// An answer that the step cannot take is refused, and the wait goes on.
func TestSagaAnswerNotTaken(t *testing.T) {
	p := stageOf(t, sagaOf(waitStep("ok")))
	p.in.Plan.Steps[0].Receives = true
	p.on("receive ok", forGood, wellDone)
	first := p.ask(time.Second, sagas.UpdateAnswer, ann("ok"))
	second := p.ask(time.Hour, sagas.UpdateAnswer, ann("ok"))
	s := p.run()
	require.ErrorContains(t, first.err, "step ok cannot take the answer's value: never; answer again")
	require.NoError(t, second.err)
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"answer ok", "rejected ok", "answer ok"}, sagaStory(s))
}

func TestSagaWaitSkippedByCondition(t *testing.T) {
	p := stageOf(t, sagaOf(waitStep("ok"), localStep("b")))
	p.in.Plan.Steps[0].Conditional = true
	p.on("prepare ok", core.Outcome{Kind: core.OutcomeSkipped})
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, core.Skipped, s.Core.Steps["ok"].Status)
}

// A wait that has timed out and parks can be retried, then answered.
func TestSagaWaitParked(t *testing.T) {
	p := stageOf(t, sagaOf(waitStep("ok")))
	p.in.Plan.Steps[0].Timeout, p.in.Plan.Steps[0].OnFailure = time.Minute, core.Park
	tooEarly := p.ask(2*time.Minute, sagas.UpdateAnswer, ann("ok"))
	p.ask(3*time.Minute, sagas.UpdateRetry, ann(""))
	p.ask(3*time.Minute+time.Second, sagas.UpdateAnswer, ann("ok"))
	s := p.run()
	require.ErrorContains(t, tooEarly.rejected, "step ok is failed: retry it first, then answer")
	require.Equal(t, core.StateCompleted, s.State)
	require.Len(t, p.alerts, 1)
	require.Equal(t, "step ok: no answer within 1m0s", p.alerts[0].Reason)
}

// While another process takes an answer into the state, a second one is refused,
// and does not keep the saga from ending.
func TestSagaAnsweredTwiceElsewhere(t *testing.T) {
	p := stageOf(t, sagaOf(waitStep("ok"), localStep("b")))
	p.in.Plan.Steps[0].Receives = true
	p.absent = func(n int) bool { return n <= 6 }
	first := p.ask(time.Second, sagas.UpdateAnswer, ann("ok"))
	second := p.ask(4*time.Second, sagas.UpdateAnswer, ann("ok"))
	s := p.run()
	require.NoError(t, first.err)
	require.ErrorContains(t, second.rejected, "step ok was answered already")
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"receive ok", "do b"}, p.calls)
}

// An answer that came too late to be taken is told so.
func TestSagaAnsweredWhileTheConditionIsAskedElsewhere(t *testing.T) {
	p := stageOf(t, sagaOf(waitStep("ok"), localStep("b")))
	p.in.Plan.Steps[0].Conditional = true
	p.absent = func(n int) bool { return n <= 6 }
	p.on("prepare ok", core.Outcome{Kind: core.OutcomeSkipped})
	first := p.ask(2*time.Second, sagas.UpdateAnswer, ann("ok"))
	second := p.ask(4*time.Second, sagas.UpdateAnswer, ann("ok"))
	s := p.run()
	require.ErrorContains(t, first.err, "step ok has ended without this answer")
	require.ErrorContains(t, second.rejected, "step ok was answered already")
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"prepare ok", "do b"}, p.calls)
}

// A condition that held is not asked again: the step may have been done because of
// it.
func TestSagaConditionIsAskedOnce(t *testing.T) {
	stock, flight := messageStep("stock"), activityStep("flight")
	stock.Conditional, flight.Conditional = true, true
	stock.Timeout = time.Minute
	p := stageOf(t, sagaOf(localStep("a"), stock, flight))
	p.booking(&booking{book: func(n int) (any, error) {
		if n == 1 {
			return nil, errors.New("oops")
		}
		return "booked", nil
	}})
	p.on("do stock", noReply)
	p.reply(70*time.Second, "stock", core.OutcomeDone)
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	asked := map[string]int{}
	for _, x := range p.steps {
		if x.Step.Conditional {
			asked[x.Step.Name]++
		}
	}
	require.Equal(t, map[string]int{"stock": 1, "flight": 1}, asked)
	require.Greater(t, len(p.steps), 5)
}
