package sagas_test

import (
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

var away = &activities.SagaWaits{Who: "participant stock", Since: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), Reason: "its database is away"}

const awayText = "waits at participant stock since 2026-05-04T03:02:01Z: its database is away"

// waiting has the participant of a call wait as long as its nth call says so.
func (p *play) waiting(call string, while func(n int) bool) {
	p.on(call, noReply)
	p.stage.waits = map[string]func(n int) *activities.SagaWaits{call: func(n int) *activities.SagaWaits {
		if while(n) {
			return away
		}
		return nil
	}}
}

func always(int) bool { return true }

// A participant that waits for its database is waited for, as long as it says so, and
// everybody is told what for.
func TestSagaWaitsForAParticipantThatWaits(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"5 minutes": 0, "a second": time.Second} {
		t.Run(name, func(t *testing.T) {
			p := stageOf(t, sagaOf(localStep("a"), messageStep("stock")))
			p.in.Plan.Steps[1].Timeout = timeout
			p.in.Plan.Steps[1].Retry = core.Retry{Attempts: 1}
			p.waiting("do stock", always)
			p.at(3*time.Hour, func() {
				s := p.status()
				require.Equal(t, core.StateRunning, s.State)
				require.Equal(t, "stock", s.Step)
				require.Equal(t, awayText, s.Reason)
				require.Equal(t, awayText, s.Standing().Reason)
				require.Equal(t, away.Reason, s.Waits["stock"].Reason)
			})
			p.reply(3*time.Hour+time.Second, "stock", core.OutcomeDone)
			s := p.run()
			require.Equal(t, core.StateCompleted, s.State)
			require.Equal(t, 1, s.Core.Steps["stock"].Tries, "it is the same try")
			require.Empty(t, s.Waits)
			require.Equal(t, []string{"waits stock"}, sagaStory(s), "once")
			require.Less(t, p.tried["do stock"], 50, "it is not asked all the time")
			require.Len(t, p.alerts, 1)
			require.Contains(t, p.alerts[0].Reason, awayText)
		})
	}
}

// Once it does not wait any more it has the step's Timeout, and no longer.
func TestSagaParticipantWaitsNoMore(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock")))
	p.in.Plan.Steps[1].Retry = core.Retry{Attempts: 1}
	p.in.Plan.Steps[1].Timeout = 20 * time.Second // less than the pauses
	var last, over time.Time
	p.waiting("do stock", func(n int) bool {
		if n <= 10 {
			last = p.Now()
		} else if over.IsZero() {
			over = p.Now()
		}
		return n <= 10
	})
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, "no reply from stock.do within 20s", s.Core.Cause.Reason)
	require.InDelta(t, (5 * time.Minute).Seconds(), over.Sub(last).Seconds(), 1, "it is asked that often, whatever the Timeout")
	require.InDelta(t, 20, p.Now().Sub(over).Seconds(), 2)
}

// No saga waits so for ever, and a step says how long.
func TestSagaPatienceEnds(t *testing.T) {
	for name, c := range map[string]struct{ patience, want time.Duration }{
		"by default":   {0, core.DefaultPatience},
		"two hours":    {2 * time.Hour, 2 * time.Hour},
		"less than it": {time.Minute, core.DefaultMessageTimeout},
		"none":         {-1, core.DefaultMessageTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			p := stageOf(t, sagaOf(localStep("a"), messageStep("stock")))
			p.in.Plan.Steps[1].Retry = core.Retry{Attempts: 1}
			p.in.Plan.Steps[1].Patience = c.patience
			p.waiting("do stock", always)
			begin := p.Now()
			s := p.run()
			require.Equal(t, core.StateCompensated, s.State)
			require.Equal(t, holdfast.ClassTimeout, s.Core.Cause.Class)
			require.Contains(t, s.Core.Cause.Reason, "participant stock waits itself: its database is away")
			took := p.Now().Sub(begin)
			require.GreaterOrEqual(t, took, c.want)
			require.LessOrEqual(t, took, c.want+2*core.DefaultMessageTimeout)
		})
	}
}

// An Undo has to be done, however long its participant waits; an operator can end it.
func TestSagaUndoWaitsForItsParticipant(t *testing.T) {
	p := stageOf(t, sagaOf(messageStep("stock"), localStep("b")))
	p.on("do b", refusal)
	p.waiting("undo stock", always)
	p.on("do b", refusal)
	p.at(3*24*time.Hour, func() {
		s := p.status()
		require.Equal(t, core.StateCompensating, s.State)
		require.Equal(t, awayText, s.Standing().Reason)
		require.Equal(t, 1, s.Core.Steps["stock"].UndoTries)
	})
	p.signal(3*24*time.Hour+time.Second, sagas.SignalReply, sagas.Reply{Step: "stock", Undo: true, Outcome: core.OutcomeDone})
	require.Equal(t, core.StateCompensated, p.run().State)
}

// An operator who has the saga compensate need not wait for the participant.
func TestSagaCompensatedWhileItsParticipantWaits(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock")))
	p.waiting("do stock", always)
	p.ask(time.Hour, workflows.UpdateCompensate, ann(""))
	begin := p.Now()
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Less(t, p.Now().Sub(begin), time.Hour+time.Minute)
}

// What is known of it goes on in the next run.
func TestSagaRenewedWhileItsParticipantWaits(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock")))
	p.in.Plan.Steps[1].Retry = core.Retry{Attempts: 1}
	p.waiting("do stock", always)
	p.at(time.Hour, func() {
		p.SetContinueAsNewSuggested(true)
		p.SignalWorkflow(sagas.UpdatePause, ann("")) // it is looked at
	})
	p.signal(time.Hour+time.Second, sagas.UpdateResume, ann(""))
	next := p.renewed()
	next.waiting("do stock", func(int) bool { return false })
	next.at(time.Second, func() { require.Equal(t, awayText, next.status().Waits["stock"].String()) })
	next.reply(time.Minute, "stock", core.OutcomeDone)
	s := next.run()
	require.Equal(t, core.StateCompleted, s.State, "it has its time once it does not wait any more")
}
