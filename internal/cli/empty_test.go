package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
)

// TestEmptyValues: "$KEY" of a variable that is not set is a mistake, not all there is.
func TestEmptyValues(t *testing.T) {
	env := []string{"USER=ann", "TEMPORAL_ADDRESS=127.0.0.1:1"}
	for want, all := range map[string][][]string{
		"--key is empty": {
			{"dead", "discard", "--consumer", "payments", "--key", "", "--yes", "--reason", "x"},
			{"saga", "compensate", "--name", "orders", "--key", "", "--yes", "--reason", "x"},
			{"tx", "rollback", "--group", "orders", "--key", "", "--yes", "--reason", "x"},
			{"dead", "list", "--key="},
		},
		"--consumer is empty": {{"dead", "redeliver", "--consumer", "", "--topic", "t", "--yes", "--reason", "x"}},
		"--state is empty":    {{"saga", "pause", "--name", "orders", "--state", "", "--yes", "--reason", "x"}},
		"--prefix is empty":   {{"--prefix", "", "saga", "list"}},
		"an argument is empty": {
			{"dead", "discard", "", "--reason", "x"},
			{"consumers", "remove", "", "--reason", "x"},
		},
	} {
		for _, args := range all {
			r := runProgram(t, env, args...)
			require.Equal(t, frame.ExitUsage, r.status, args)
			require.Contains(t, r.err, want, args)
		}
	}
}
