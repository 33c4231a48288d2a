package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
	"github.com/holdfastmq/holdfast/workflows/sagas"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// TestNamesStay: workflows that run, processes of other versions and operators' scripts
// know workflow types, queries, Updates, signals and search attributes by these names.
func TestNamesStay(t *testing.T) {
	require.Equal(t, []string{"Transaction", "Recovery", "DeadLetter", "Saga"},
		[]string{transactions.Name, transactions.RecoveryName, deadletters.Name, sagas.Name})
	require.Equal(t, []string{"status", "compensate"}, []string{workflows.QueryStatus, workflows.UpdateCompensate})
	require.Equal(t, []string{"HoldfastState", "HoldfastTopic", "HoldfastKey"},
		[]string{workflows.AttributeState, workflows.AttributeTopic, workflows.AttributeKey})
	require.Equal(t, []string{"commit", "rollback", "recheck", "confirm", "stored"},
		[]string{transactions.UpdateCommit, transactions.UpdateRollback, transactions.UpdateRecheck,
			transactions.UpdateConfirm, transactions.UpdateStored})
	require.Equal(t, []string{"redeliver", "redeliver-edited", "discard", "handled", "died"},
		[]string{deadletters.UpdateRedeliver, deadletters.UpdateRedeliverEdited, deadletters.UpdateDiscard,
			deadletters.SignalHandled, deadletters.SignalDied})
	require.Equal(t, []string{"pause", "resume", "retry", "skip", "answer", "reply"},
		[]string{sagas.UpdatePause, sagas.UpdateResume, sagas.UpdateRetry, sagas.UpdateSkip, sagas.UpdateAnswer, sagas.SignalReply})
}
