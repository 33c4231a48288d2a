package sagas_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestSagaIsBounded: whatever comes, its status fits into what Temporal takes.
func TestSagaIsBounded(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), waitStep("ok")))
	long := strings.Repeat("é", 10_000)
	p.on("do a", core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassError, Error: long}, wellDone)
	loud := sagas.Request{Operator: long, Reason: long, Step: long}
	for i := range 100 {
		p.signal(time.Minute+time.Duration(i)*time.Second, sagas.UpdateRetry, loud)
	}
	p.at(time.Hour, func() {
		s := p.status()
		require.Len(t, s.Story, 50)
		data, err := json.Marshal(s)
		require.NoError(t, err)
		require.Less(t, len(data), 200_000)
	})
	p.at(time.Second/2, func() {
		text := p.status().Core.Steps["a"].Error
		require.NotEmpty(t, text)
		require.LessOrEqual(t, len(text), 1000)
	})
	large := ann("ok")
	large.Value = longData
	refused := p.ask(time.Hour, sagas.UpdateAnswer, large)
	noisy := ann("")
	noisy.Reason = long
	p.ask(2*time.Hour, workflows.UpdateCompensate, noisy)
	s := p.run()
	require.ErrorContains(t, refused.rejected, "too large")
	require.Equal(t, core.StateCompensated, s.State)
	require.LessOrEqual(t, len(s.Core.Cause.Reason), 1000)
}

// A step that makes the state too large has failed, and is undone.
func TestSagaStateTooLarge(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), localStep("b")))
	patch, err := json.Marshal(map[string]json.RawMessage{"b": longData})
	require.NoError(t, err)
	p.on("do b", core.Outcome{Kind: core.OutcomeDone, Patch: patch})
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Contains(t, s.Reason, "step b failed: holdfast: too large")
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, p.calls)
}

// The last states of sub-sagas are kept until they are undone: there is a limit on
// all together. What passes it is undone.
func TestSubSagasTooLarge(t *testing.T) {
	var steps []core.Step
	for _, name := range []string{"one", "two", "three", "four", "five", "six"} {
		sub := subStep(name, localStep(name+"-pack"))
		sub.Receives = false
		steps = append(steps, sub)
	}
	p := stageOf(t, sagaOf(steps...))
	patch, err := json.Marshal(map[string]string{"x": strings.Repeat("x", 200_000)})
	require.NoError(t, err)
	for _, x := range steps {
		p.on("do "+x.Name+"-pack", core.Outcome{Kind: core.OutcomeDone, Patch: patch})
	}
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, "six", s.Step)
	require.Contains(t, s.Reason, "keep large data elsewhere")
	for _, x := range steps {
		require.Equal(t, 1, p.tried["undo "+x.Name+"-pack"], x.Name)
	}
}
