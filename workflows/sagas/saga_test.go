package sagas_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga/core"
)

func TestSagaOfLocalSteps(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), localStep("b"), localStep("c")))
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.JSONEq(t, `{"amount":5,"a":1,"b":1,"c":1}`, string(s.Core.Data))
	require.Equal(t, []string{"do a", "do b", "do c"}, p.calls)
	require.Equal(t, []bool{true, true, true}, p.local)
	require.Equal(t, []bool{false, false, true}, []bool{p.steps[0].Last, p.steps[1].Last, p.steps[2].Last})
	require.Empty(t, s.Story)
	require.Empty(t, s.Actions)
}

func TestSagaRefused(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("b"), localStep("c")))
	p.on("do c", refusal)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Equal(t, []string{"do a", "do b", "do c", "undo b", "undo a"}, p.calls)
	require.Equal(t, []bool{true, true, true, false, false}, p.local)
	require.Equal(t, "c", s.Step)
	require.Equal(t, "step c was refused: out of stock", s.Reason)
	require.Equal(t, "step c was refused: out of stock", p.steps[3].Cause)
	require.Equal(t, []string{"refused c"}, sagaStory(s))
	require.Empty(t, p.alerts)
}

func TestSagaTriesAgain(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), localStep("b")))
	p.on("do b", oops, oops, wellDone)
	s := p.run()
	require.Equal(t, core.StateCompleted, s.State)
	require.Equal(t, []string{"do a", "do b", "do b", "do b"}, p.calls)
	require.Equal(t, []bool{true, true, false, false}, p.local, "the UI shows later tries")
	require.Equal(t, []int{1, 1, 2, 3}, []int{p.steps[0].Try, p.steps[1].Try, p.steps[2].Try, p.steps[3].Try})
	require.Equal(t, []string{"failed b"}, sagaStory(s))
}
