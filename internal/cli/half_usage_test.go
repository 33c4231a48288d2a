package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHalfUsage(t *testing.T) {
	for _, args := range [][]string{{"half"}, {"half", "peek"}, {"half", "peek", "g", "-n", "0"}, {"half", "peek", "g", "-n", "101"}, {"half", "peek", "a b"}, {"half", "stats", "a/b"}} {
		require.Equal(t, exitUsage, runProgram(t, nil, args...).status, args)
	}
	r := runProgram(t, nil, "half", "stats")
	require.Equal(t, exitError, r.status)
	require.Contains(t, r.err, "set AMQP_URL")
}
