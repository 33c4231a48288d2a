package stacktest

import (
	"testing"

	"github.com/stretchr/testify/require"
	sdkworker "go.temporal.io/sdk/worker"
)

// Replayer returns a replayer of histories that no slow machine makes fail: it does
// not take a workflow that computes for more than a second for a deadlock.
func Replayer(t testing.TB) sdkworker.WorkflowReplayer {
	t.Helper()
	r, err := sdkworker.NewWorkflowReplayerWithOptions(sdkworker.WorkflowReplayerOptions{DisableDeadlockDetection: true})
	require.NoError(t, err)
	return r
}
