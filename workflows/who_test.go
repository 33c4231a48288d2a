package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestReservedOperators(t *testing.T) {
	for name, want := range map[string]bool{"policy": true, "Policy": true, " timeout ": true, "temporal": true,
		"ann": false, "": false, "policy-team": false, "time out": false} {
		require.Equal(t, want, workflows.ReservedOperator(name), name)
	}
}

// TestNobodySignsAsHoldfast: an operator's name that Holdfast itself signs with is
// refused, by Update and by signal.
func TestNobodySignsAsHoldfast(t *testing.T) {
	b := bury(t, letter(holdfast.Policy{}))
	asked := b.ask(time.Minute, workflows.UpdateDiscard, by("policy"))
	b.signal(2*time.Minute, workflows.UpdateDiscard, by("Timeout"))
	b.at(3*time.Minute, func() { require.Equal(t, workflows.Parked, b.status().State) })
	b.discard(time.Hour)
	s := b.run()
	require.ErrorContains(t, asked.rejected, `the operator cannot be "policy"`)
	require.Equal(t, []string{"died", "refused", "discard"}, happened(s))
}

func TestNoTransactionIsSettledAsHoldfast(t *testing.T) {
	env := setup(t, &world{})
	refused := update(env, 4*time.Hour, workflows.UpdateCommit, workflows.Request{Operator: "timeout", Reason: "x"})
	env.RegisterDelayedCallback(func() {
		env.SignalWorkflow(workflows.UpdateCommit, workflows.Request{Operator: "policy", Reason: "x"})
	}, 5*time.Hour)
	update(env, 6*time.Hour, workflows.UpdateRollback, workflows.Request{Operator: "ann", Reason: "never ran"})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.ErrorContains(t, refused.rejected, `the operator cannot be "timeout"`)
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Equal(t, "ann: never ran", got[0].Decided)
}

func TestNoSagaIsSteeredAsHoldfast(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), messageStep("stock")))
	p.on("do stock", noReply)
	req := ann("")
	req.Operator = "Policy"
	refused := p.ask(time.Second, workflows.UpdateCompensate, req)
	require.Empty(t, p.run().Core.Cause.Operator)
	require.ErrorContains(t, refused.rejected, `the operator cannot be "Policy"`)
}
