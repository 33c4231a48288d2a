package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestUnsure: a step that may have been done by a run that nobody recorded, and
// what is undone with it.
func TestUnsure(t *testing.T) {
	step := func(name string) Step { return Step{Name: name, Kind: Local, Undo: true} }
	of := func(kind Kind, name string, steps ...Step) Step { return Step{Name: name, Kind: kind, Steps: steps} }
	kase := func(label string, steps ...Step) Step {
		s := of(Sequence, "how."+label, steps...)
		s.Case = label
		return s
	}
	activity := Step{Name: "activity", Kind: Activity, Type: "x", UndoType: "y", Undo: true}
	optional := activity
	optional.Conditional = true
	for name, x := range map[string]struct {
		steps  []Step
		unsure string
		want   []string
	}{
		"all after it":           {[]Step{step("a"), step("b"), step("c")}, "a", []string{"a", "b", "c"}},
		"nothing after it":       {[]Step{step("a")}, "a", []string{"a"}},
		"up to an activity":      {[]Step{step("a"), step("b"), activity, step("c")}, "a", []string{"a", "b"}},
		"past one with When":     {[]Step{step("a"), optional, step("c")}, "a", []string{"a", "c"}},
		"its branch, then after": {[]Step{of(Parallel, "p", of(Sequence, "s", step("a"), step("b")), step("c")), step("d")}, "a", []string{"a", "c", "b", "d"}},
		"a branch of one":        {[]Step{of(Parallel, "p", of(Sequence, "s", step("a"), step("b")), step("c")), step("d")}, "c", []string{"a", "c", "d"}},
		"a group after it":       {[]Step{step("a"), of(Parallel, "p", step("b"), activity), step("c")}, "a", []string{"a", "b"}},
		"the cases of a choice":  {[]Step{of(Choice, "how", kase("x", step("a")), kase("", step("b"))), step("c")}, "how", []string{"how", "a", "b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := Plan{Name: "s", Steps: x.steps}.Complete()
			require.NoError(t, err)
			m := New(&plan, []byte("{}"))
			now := time.Now()
			m.Begin(now)
			m.Unsure(x.unsure)
			m.Unsure("nothing")
			_, err = m.Apply(Event{Kind: Undo, At: now, Operator: "ann", Reason: "because"})
			require.NoError(t, err)
			require.Equal(t, x.want, m.State().Stack)
			require.False(t, m.Step(x.unsure).Unsure)
		})
	}
}

// What was begun after it speaks for itself.
func TestUnsureBegun(t *testing.T) {
	plan, err := Plan{Name: "s", Steps: []Step{{Name: "a", Kind: Local, Undo: true}, {Name: "b", Kind: Local, Undo: true}, {Name: "c", Kind: Local, Undo: true}}}.Complete()
	require.NoError(t, err)
	m := New(&plan, []byte("{}"))
	now := time.Now()
	m.Begin(now)
	m.Unsure("a")
	_, err = m.Apply(Event{Kind: DoEnded, At: now, Step: "a", Outcome: Outcome{Kind: OutcomeDone}})
	require.NoError(t, err)
	_, err = m.Apply(Event{Kind: Undo, At: now, Operator: "ann", Reason: "because"})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, m.State().Stack)
}

// TestWithdraw: what was wanted and not begun leaves no trace.
func TestWithdraw(t *testing.T) {
	plan, err := Plan{Name: "s", Steps: []Step{{Name: "a", Kind: Local, Undo: true}, {Name: "b", Kind: Local, Undo: true}}}.Complete()
	require.NoError(t, err)
	m, now := New(&plan, []byte("{}")), time.Now()
	require.Len(t, m.Begin(now), 1)
	effects, err := m.Apply(Event{Kind: DoEnded, At: now, Step: "a", Outcome: Outcome{Kind: OutcomeDone}})
	require.NoError(t, err)
	require.Equal(t, "b", effects[0].Step.Name)
	m.Withdraw("b")
	m.Withdraw("a") // is done
	m.Withdraw("nothing")
	require.Equal(t, []string{"a"}, m.State().Stack)
	require.Nil(t, m.State().Steps["b"])

	effects = Resume(&plan, *m.State()).Restart(now)
	require.Len(t, effects, 1)
	require.Equal(t, []any{EffectDo, "b", 1}, []any{effects[0].Kind, effects[0].Step.Name, effects[0].Try})
}
