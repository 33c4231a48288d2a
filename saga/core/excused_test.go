package core_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga/core"
)

// A database that cannot be reached uses up no attempts, neither of a Do nor of an
// Undo.
func TestExcusedFailuresDoNotCount(t *testing.T) {
	plan, err := core.Plan{Name: "order", Steps: []core.Step{{Name: "a", Kind: core.Local, Undo: true, Retry: core.Retry{Attempts: 2}}, {Name: "b", Kind: core.Wait}}}.Complete()
	require.NoError(t, err)
	m := core.New(&plan, []byte("{}"))
	now := time.Unix(0, 0)
	m.Begin(now)
	apply := func(kind core.EventKind, o core.Outcome) {
		t.Helper()
		_, err := m.Apply(core.Event{Kind: kind, At: now, Step: "a", Outcome: o, Operator: "ann", Reason: "test"})
		require.NoError(t, err)
	}
	away := core.Outcome{Kind: core.OutcomeFailed, Error: "away", Excused: true}
	for i := range 20 {
		apply(core.DoEnded, away)
		require.Equal(t, core.Retrying, m.Step("a").Status)
		require.Equal(t, min(time.Minute, time.Second<<i), m.Step("a").Next.Sub(now), "what is away is not asked each second for ever")
		apply(core.Slept, core.Outcome{})
	}
	apply(core.DoEnded, core.Outcome{Kind: core.OutcomeFailed, Error: "oops"})
	require.Equal(t, core.Retrying, m.Step("a").Status, "the first one that counts")
	apply(core.Slept, core.Outcome{})
	apply(core.DoEnded, core.Outcome{Kind: core.OutcomeDone})
	apply(core.Undo, core.Outcome{})
	_, err = m.Apply(core.Event{Kind: core.DoEnded, At: now, Step: "b", Outcome: core.Outcome{Kind: core.OutcomeStopped}})
	require.NoError(t, err)
	for i := range 20 {
		require.Equal(t, core.Undoing, m.Step("a").Status)
		apply(core.UndoEnded, away)
		require.Equal(t, core.Reundoing, m.Step("a").Status)
		require.Equal(t, min(time.Minute, time.Second<<i), m.Step("a").Next.Sub(now))
		apply(core.Slept, core.Outcome{})
	}
}
