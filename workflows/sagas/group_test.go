package sagas_test

import (
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

func group(kind core.Kind, name string, steps ...core.Step) core.Step {
	return core.Step{Name: name, Kind: kind, Steps: steps}
}

func TestSagaParallel(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), group(core.Parallel, "both", messageStep("stock"), group(core.Sequence, "money", messageStep("pay"), localStep("book"))), localStep("z")))
	p.on("do stock", noReply)
	p.on("do pay", noReply)
	p.reply(4*time.Second, "stock", core.OutcomeDone)
	p.reply(2*time.Second, "pay", core.OutcomeDone)
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, "do a", p.calls[0])
	require.ElementsMatch(t, []string{"do stock", "do pay"}, p.calls[1:3])
	require.Equal(t, []string{"do book", "do z"}, p.calls[3:])
}

// A branch that is refused stops the others where they only wait, and what they may
// have done is undone.
func TestSagaParallelRefused(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), group(core.Parallel, "all", messageStep("stock"), messageStep("pay"), waitStep("ok"), localStep("b"))))
	p.on("do stock", noReply)
	p.on("do pay", noReply)
	p.reply(2*time.Second, "pay", core.OutcomeRefused)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"undo b", "undo stock", "undo a"}, p.calls[len(p.calls)-3:])
	require.Equal(t, core.Refused, s.Core.Steps["pay"].Status)
	require.Equal(t, core.Stopped, s.Core.Steps["ok"].Status)
	require.Equal(t, core.Undone, s.Core.Steps["stock"].Status)
}

func TestSagaChoice(t *testing.T) {
	kase := func(label string, steps ...core.Step) core.Step {
		c := group(core.Sequence, "how."+label, steps...)
		c.Case = label
		return c
	}
	for _, x := range []struct {
		chosen string
		calls  []string
	}{
		{"card", []string{"prepare how", "do card", "do z"}},
		{"cash", []string{"prepare how", "do cash", "do z"}},
		{"gold", []string{"prepare how", "do other", "do z"}},
	} {
		t.Run(x.chosen, func(t *testing.T) {
			p := stageOf(t, sagaOf(group(core.Choice, "how", kase("card", localStep("card")), kase("cash", localStep("cash")), kase("", localStep("other"))), localStep("z")))
			p.on("prepare how", core.Outcome{Kind: core.OutcomeDone, Case: x.chosen})
			s := p.run()
			require.Equal(t, core.StateCompleted, s.State)
			require.Equal(t, x.calls, p.calls)
		})
	}
}

// Steps after the pivot are tried until they succeed; what is refused there waits
// for an operator.
func TestSagaForward(t *testing.T) {
	charge, ship, note := messageStep("charge"), messageStep("ship"), localStep("note")
	charge.Pivot = true
	ship.Undo, ship.UndoTopic, note.Undo = false, "", false
	p := stageOf(t, sagaOf(localStep("a"), charge, ship, note))
	p.on("do ship", oops, oops, oops, oops, oops, oops, oops, oops, refusal, wellDone)
	p.at(time.Hour, func() {
		s := p.status()
		require.Equal(t, core.StateParked, s.State)
		require.Equal(t, "ship", s.Step)
		require.Equal(t, "out of stock", s.Reason)
		require.ElementsMatch(t, []string{sagas.UpdateRetry, sagas.UpdateSkip, sagas.UpdatePause, workflows.UpdateCompensate}, s.Actions)
	})
	p.ask(time.Hour+time.Second, sagas.UpdateRetry, ann(""))
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, 10, p.tried["do ship"])
	require.Len(t, p.alerts, 1)
	require.True(t, p.steps[len(p.steps)-2].Again, "the refusal does not count any more")
	require.Equal(t, []string{"failed ship", "refused ship", "parked ship", "retry"}, sagaStory(s))
}

func TestSagaParks(t *testing.T) {
	b := localStep("b")
	b.OnFailure = core.Park
	p := stageOf(t, sagaOf(localStep("a"), b, localStep("c")))
	p.on("do b", forGood)
	a := p.ask(time.Hour, sagas.UpdateSkip, ann("b"))
	s := p.run()
	require.NoError(t, a.err)
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, core.Skipped, s.Core.Steps["b"].Status)
	require.Len(t, p.alerts, 1)
	require.Contains(t, p.alerts[0].Remedy, "holdfast saga retry saga/shop/order/A-1")
}
