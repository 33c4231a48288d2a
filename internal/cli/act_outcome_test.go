package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoOutcomeThatWasNotSeenIsASuccess(t *testing.T) {
	for v, want := range map[verdict][3]bool{ // waited, not waited, named
		isHandled: {}, isCompensated: {}, isDiscarded: {}, isRestarted: {},
		isRedelivered: {true, false, true}, isUndoing: {true, false, true}, isSettled: {false, false, true},
		hasFailed: {true, true, true}, isRefused: {true, true, true}, isUnknown: {true, true, true}, isUnsent: {true, true, true},
	} {
		o := outcome{Outcome: v}
		require.Equal(t, want, [3]bool{o.bad(true, false), o.bad(false, false), o.bad(true, true)}, v)
	}
	require.Equal(t, "4 dead letters: 2 handled, 1 failed again, 1 unknown",
		summarize("dead letter", []outcome{{Outcome: isUnknown}, {Outcome: isHandled}, {Outcome: hasFailed}, {Outcome: isHandled}}))
}
