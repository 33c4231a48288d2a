package workflows_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
	"github.com/holdfastmq/holdfast/workflows/sagacohort"
	"github.com/holdfastmq/holdfast/workflows/sagas"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// TestReplay replays histories that were recorded on a real server. One that
// fails is a workflow that would get stuck when this version is deployed: guard
// the change with workflow.GetVersion. `make histories` records new ones.
func TestReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/histories/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files, "no histories: record some with `make histories`")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			replayer := stacktest.Replayer(t)
			replayer.RegisterWorkflowWithOptions(transactions.Transaction, workflow.RegisterOptions{Name: transactions.Name})
			replayer.RegisterWorkflowWithOptions(transactions.Recovery, workflow.RegisterOptions{Name: transactions.RecoveryName})
			replayer.RegisterWorkflowWithOptions(deadletters.DeadLetter, workflow.RegisterOptions{Name: deadletters.Name})
			replayer.RegisterWorkflowWithOptions(sagacohort.SagaCohort, workflow.RegisterOptions{Name: sagacohort.Name})
			replayer.RegisterWorkflowWithOptions(sagas.Saga, workflow.RegisterOptions{Name: sagas.Name})
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, file))
		})
	}
}
