package transactions_test

import (
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/transactions"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestNoTransactionIsSettledAsHoldfast(t *testing.T) {
	env := setup(t, &world{})
	refused := update(env, 4*time.Hour, transactions.UpdateCommit, transactions.Request{Operator: "timeout", Reason: "x"})
	env.RegisterDelayedCallback(func() {
		env.SignalWorkflow(transactions.UpdateCommit, transactions.Request{Operator: "policy", Reason: "x"})
	}, 5*time.Hour)
	update(env, 6*time.Hour, transactions.UpdateRollback, transactions.Request{Operator: "ann", Reason: "never ran"})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.ErrorContains(t, refused.rejected, `the operator cannot be "timeout"`)
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Equal(t, "ann: never ran", got[0].Decided)
}
