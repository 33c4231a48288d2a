package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
)

func TestHalfUsage(t *testing.T) {
	for _, args := range [][]string{{"half"}, {"half", "peek"}, {"half", "peek", "g", "-n", "0"}, {"half", "peek", "g", "-n", "101"}, {"half", "peek", "a b"}, {"half", "stats", "a/b"}} {
		require.Equal(t, frame.ExitUsage, runProgram(t, nil, args...).status, args)
	}
	r := runProgram(t, nil, "half", "stats")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "set AMQP_URL")
}
