package sagas

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestEffects: what each action would do is told before it is done, and telling changes
// nothing.
func TestEffects(t *testing.T) {
	p, err := core.Plan{Name: "piece", Version: 2, Steps: []core.Step{
		{Name: "create", Kind: core.Local, Undo: true},
		{Name: "pay", Kind: core.Local, Undo: true, OnFailure: core.Park},
		{Name: "confirm", Kind: core.Local, Pivot: true, NoUndo: true},
		{Name: "mail", Kind: core.Local},
	}}.Complete()
	require.NoError(t, err)
	done := func(step string) core.Event {
		return core.Event{Kind: core.DoEnded, Step: step, Outcome: core.Outcome{Kind: core.OutcomeDone}}
	}
	failed := func(step string) core.Event {
		return core.Event{Kind: core.DoEnded, Step: step,
			Outcome: core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPermanent, Error: "no card"}}
	}
	parked := play(t, p, done("create"), failed("pay"))
	d := Detail{Row: Row{ID: "saga/orders/piece/1", Group: "orders", State: parked.State}, Status: &parked}
	tell := func(act, step string) []string { return d.Effects(Choice{Act: act, Step: step}) }
	require.Equal(t, []string{"1. Undo pay.", "2. Undo create."},
		tell(workflows.UpdateCompensate, ""))
	require.Equal(t, []string{"pay is tried again at once, with all its tries anew.", "Then: confirm, mail."},
		tell(sagaflow.UpdateRetry, ""))
	require.Contains(t, tell(sagaflow.UpdateSkip, "pay")[0], "pay counts as done, and nothing is done for it")
	require.Contains(t, tell(sagaflow.UpdatePause, "")[0], "No further step is begun")
	require.Equal(t, core.Failed, parked.Core.Steps["pay"].Status, "nothing was changed")

	completed := play(t, p, done("create"), done("pay"), done("confirm"), done("mail"))
	d = Detail{Row: Row{ID: "saga/orders/piece/1", State: core.StateCompleted}, Status: &completed}
	require.Equal(t, []string{"The saga has completed: a second workflow undoes it.", "1. Undo pay.", "2. Undo create.",
		"What has no Undo stays as it is: mail."}, tell(workflows.UpdateCompensate, ""))

	d = Detail{Row: Row{Group: "orders"}}
	require.Contains(t, tell(workflows.UpdateCompensate, "")[0], "no process of group orders told")
}

// TestNextTryOfAPausedSaga: the time of a try that has come while a saga is paused is none.
func TestNextTryOfAPausedSaga(t *testing.T) {
	s := sagaflow.Status{Plan: core.Plan{Steps: []core.Step{{Name: "pay", Kind: core.Local}}},
		Core: core.State{Phase: core.Forwards, Paused: true, Steps: map[string]*core.StepState{"pay": {Status: core.Retrying, Tries: 5}}}}
	next := whatNext(s, time.Now())
	require.Equal(t, "It is paused: no further step begins until it is resumed.", next[0])
	require.Contains(t, next[1], "pay is tried again when the saga is resumed (try 6")
	s.Core.Phase, s.Core.Steps["pay"] = core.Backwards, &core.StepState{Status: core.Reundoing, UndoTries: 1}
	require.Contains(t, whatNext(s, time.Now())[1], "The Undo of pay is tried again when the saga is resumed (try 2)")
}
