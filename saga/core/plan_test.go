package core_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

var update = flag.Bool("update", false, "write the golden files anew")

// tour has every kind of step.
func tour(t *testing.T) core.Plan {
	p, err := core.Plan{Name: "tour", Version: 3, Steps: []core.Step{
		{Name: "create", Kind: core.Local, Undo: true},
		{Name: "gather", Kind: core.Parallel, Steps: []core.Step{
			{Name: "reserve", Kind: core.Message, Topic: `stock."reserve"&<1>`, UndoTopic: "stock.release;`", Undo: true},
			{Name: "checks", Kind: core.Sequence, Steps: []core.Step{
				{Name: "approval", Kind: core.Wait, Timeout: time.Hour, Conditional: true},
				{Name: "score", Kind: core.Activity, Type: "Score#1", UndoType: "Forget", Undo: true, OnFailure: core.Park},
			}},
		}},
		{Name: "speed", Kind: core.Choice, Steps: []core.Step{
			{Name: "speed.fast", Kind: core.Sequence, Case: `"fast"`, Steps: []core.Step{{Name: "fly", Kind: core.Local, NoUndo: true}}},
			{Name: "speed.slow", Kind: core.Sequence, Case: "slow", Steps: []core.Step{{Name: "sail", Kind: core.Local, Undo: true}, {Name: "drive", Kind: core.Local, Undo: true}}},
		}},
		{Name: "charge", Kind: core.Message, Topic: "payment.charge", UndoTopic: "payment.refund", Undo: true, Pivot: true},
		{Name: "end", Kind: core.Saga, Undo: true, Saga: &core.Plan{Name: "inner", Steps: []core.Step{{Name: "end", Kind: core.Wait}}}},
		{Name: "ship", Kind: core.Local, Conditional: true},
	}}.Complete()
	require.NoError(t, err)
	return p
}

func TestMermaid(t *testing.T) {
	got := core.Mermaid(tour(t))
	if *update {
		require.NoError(t, os.WriteFile("testdata/tour.mmd", []byte(got), 0o644))
	}
	want, err := os.ReadFile("testdata/tour.mmd")
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestPlan(t *testing.T) {
	p := tour(t)
	require.Equal(t, core.Activity, p.Find("score").Kind)
	require.Nil(t, p.Find("elsewhere"))
	var seen []string
	p.Each(func(s *core.Step, depth int) { seen = append(seen, fmt.Sprint(depth, " ", s.Name)) })
	require.Equal(t, []string{"0 create", "0 gather", "1 reserve", "1 checks", "2 approval", "2 score", "0 speed", "1 speed.fast", "2 fly",
		"1 speed.slow", "2 sail", "2 drive", "0 charge", "0 end", "0 ship"}, seen)
	for name, want := range map[string]time.Duration{"create": time.Minute, "reserve": 5 * time.Minute, "approval": time.Hour, "end": 0, "score": time.Minute, "speed": time.Minute} {
		require.Equal(t, want, p.Find(name).TryTimeout(), name)
	}
	require.Equal(t, 24*time.Hour, (&core.Step{Kind: core.Wait}).TryTimeout())
	for name, want := range map[string]core.OnFailure{"create": core.Backward, "score": core.Park, "speed": core.Backward, "charge": core.Backward, "end": core.Forward, "ship": core.Forward} {
		require.Equal(t, want, p.Find(name).OnFailure, name)
	}
	require.Equal(t, 1, p.Find("end").Saga.Version, "a sub-saga's plan is completed too")
	require.True(t, p.Find("approval").NoUndo)
}

// What package saga cannot define, but a plan can say.
func TestCompleteInvalid(t *testing.T) {
	wait := []core.Step{{Name: "w", Kind: core.Wait}}
	for want, s := range map[string]core.Step{
		`its kind is "poem"`: {Kind: "poem", NoUndo: true},
		`on failure "run": want backward, forward or park`: {Kind: core.Local, NoUndo: true, OnFailure: "run"},
		"a wait does nothing that could be undone":         {Kind: core.Wait, Undo: true},
		"a local step cannot hold other steps":             {Kind: core.Local, NoUndo: true, Steps: wait},
		"a choice does nothing that could be undone":       {Kind: core.Choice, Undo: true, Steps: []core.Step{{Name: "c", Kind: core.Sequence, Steps: wait}}},
		"it has no saga": {Kind: core.Saga, Undo: true},
		"holdfast: invalid: saga inner, step w: its kind is \"\"": {Kind: core.Saga, Undo: true, Saga: &core.Plan{Name: "inner", Steps: []core.Step{{Name: "w", NoUndo: true}}}},
		"holdfast: invalid: saga inner: it has no steps":          {Kind: core.Saga, Undo: true, Saga: &core.Plan{Name: "inner"}},
		"its Undo's topic: the topic \" \"":                       {Kind: core.Message, Undo: true, Topic: "a", UndoTopic: " "},
	} {
		s.Name = "s"
		_, err := core.Plan{Name: "p", Steps: []core.Step{s}}.Complete()
		require.ErrorIs(t, err, holdfast.ErrInvalid)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n", "one error for one mistake")
	}
}

// Sagas begin with nothing known; what is not begun says so.
func TestZeroState(t *testing.T) {
	p := tour(t)
	m := core.Resume(&p, core.State{Phase: core.Forwards})
	require.False(t, m.Ended())
	require.Equal(t, core.StepState{}, m.Step("create"))
	require.Same(t, &p, m.Plan())
	name, _ := m.Troubled()
	require.Empty(t, name)
	require.Error(t, m.Check(core.Event{Kind: "dance"}))
	_, err := m.Apply(core.Event{Kind: "dance"})
	require.EqualError(t, err, `unknown event "dance"`)
	require.Empty(t, m.State().Steps)
}

// Pauses neither overflow nor pass their limit.
func TestPauses(t *testing.T) {
	for _, c := range []struct {
		retry core.Retry
		want  []time.Duration
	}{
		{core.Retry{Attempts: 99, First: 10 * time.Minute}, []time.Duration{10 * time.Minute, 10 * time.Minute}},
		{core.Retry{Attempts: 99, First: time.Hour, Max: time.Minute}, []time.Duration{time.Minute, time.Minute}},
		{core.Retry{Attempts: 99, First: 3 * time.Second, Max: 7 * time.Second}, []time.Duration{3 * time.Second, 6 * time.Second, 7 * time.Second}},
		{core.Retry{Attempts: 99, First: 1 << 61, Max: 1<<63 - 1}, []time.Duration{1 << 61, 1 << 62, 1<<63 - 1, 1<<63 - 1}},
	} {
		p, err := core.Plan{Name: "p", Steps: []core.Step{{Name: "s", Kind: core.Local, NoUndo: true, Retry: c.retry}}}.Complete()
		require.NoError(t, err)
		m := core.New(&p, nil)
		m.Begin(time.Time{})
		for _, want := range c.want {
			effects, err := m.Apply(core.Event{Kind: core.DoEnded, Step: "s", Outcome: core.Outcome{Kind: core.OutcomeFailed}})
			require.NoError(t, err)
			require.Equal(t, want, effects[0].For)
			_, err = m.Apply(core.Event{Kind: core.Slept, Step: "s"})
			require.NoError(t, err)
		}
	}
}

// Patches that are small, each by itself, cannot make the state too large.
func TestTooLarge(t *testing.T) {
	p, err := core.Plan{Name: "p", Steps: []core.Step{{Name: "a", Kind: core.Local, NoUndo: true}, {Name: "b", Kind: core.Local, NoUndo: true, OnFailure: core.Park}}}.Complete()
	require.NoError(t, err)
	m := core.New(&p, nil)
	m.Begin(time.Time{})
	half := strings.Repeat("x", core.MaxData/2)
	for _, step := range []string{"a", "b"} {
		_, err := m.Apply(core.Event{Kind: core.DoEnded, Step: step, Outcome: core.Outcome{Kind: core.OutcomeDone, Patch: json.RawMessage(fmt.Sprintf(`{%q:%q}`, step, half))}})
		require.NoError(t, err)
	}
	require.Equal(t, core.StateParked, m.Standing())
	_, at := m.Troubled()
	require.Equal(t, holdfast.ClassPermanent, at.Class)
	require.Contains(t, at.Error, "store large data elsewhere")
	require.NotContains(t, string(m.State().Data), `"b"`)
}

// A saga whose plan is not known yet is not at its end, whoever pauses and resumes it.
func TestNoPlanYet(t *testing.T) {
	m := core.New(&core.Plan{Name: "order"}, []byte("{}"))
	for _, kind := range []core.EventKind{core.Pause, core.Continue} {
		effects, err := m.Apply(core.Event{Kind: kind, Operator: "ann", Reason: "test"})
		require.NoError(t, err)
		require.Empty(t, effects)
	}
	require.Equal(t, core.StateRunning, m.Standing())
	_, err := m.Apply(core.Event{Kind: core.Undo, Operator: "ann", Reason: "test"})
	require.NoError(t, err)
	require.Equal(t, core.StateCompensated, m.Standing())
}
