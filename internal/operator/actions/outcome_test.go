package actions

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoOutcomeThatWasNotSeenIsASuccess(t *testing.T) {
	for v, want := range map[Verdict][3]bool{ // waited, not waited, named
		Handled: {}, Compensated: {}, Discarded: {}, Restarted: {},
		Redelivered: {true, false, true}, Undoing: {true, false, true}, Settled: {false, false, true},
		FailedAgain: {true, true, true}, Refused: {true, true, true}, Unknown: {true, true, true}, Unsent: {true, true, true},
	} {
		o := Outcome{Outcome: v}
		require.Equal(t, want, [3]bool{o.Bad(true, false), o.Bad(false, false), o.Bad(true, true)}, v)
	}
	require.Equal(t, "4 dead letters: 2 handled, 1 failed again, 1 unknown",
		Summarize("dead letter", []Outcome{{Outcome: Unknown}, {Outcome: Handled}, {Outcome: FailedAgain}, {Outcome: Handled}}))
}
