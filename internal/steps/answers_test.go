package steps

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnswers(t *testing.T) {
	var a Answers
	require.False(t, a.Expected("dead/c/m", 1))
	require.False(t, a.Give("dead/c/m", 1), "nobody waits")

	came, forget := a.expect("dead/c/m", 1)
	require.True(t, a.Expected("dead/c/m", 1))
	require.False(t, a.Give("dead/c/m", 2), "another redelivery's")
	require.True(t, a.Give("dead/c/m", 1))
	<-came
	require.False(t, a.Give("dead/c/m", 1), "given already")
	require.True(t, forget())

	_, forget = a.expect("dead/c/m", 2)
	require.False(t, forget(), "it did not come in time")
	require.False(t, a.Give("dead/c/m", 2), "so that a signal tells")

	_, first := a.expect("dead/c/m", 3)
	_, second := a.expect("dead/c/m", 3)
	require.False(t, first(), "the same task, run before")
	require.True(t, a.Give("dead/c/m", 3))
	require.True(t, second())
	require.Empty(t, a.waiting)
}
