package transactions

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

func TestJudgeTransactions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		act    string
		m      txflow.MemberStatus
		lost   bool
		want   actions.Verdict
		detail string
	}{
		"committed":           {txflow.UpdateCommit, txflow.MemberStatus{State: workflows.Committed}, false, actions.Committed, ""},
		"not delivered yet":   {txflow.UpdateCommit, txflow.MemberStatus{State: workflows.Delivering, Resolution: holdfast.Commit, Reason: "no route"}, false, actions.Committed, "it is delivering: no route"},
		"rolled back":         {txflow.UpdateRollback, txflow.MemberStatus{State: workflows.RolledBack}, false, actions.RolledBack, ""},
		"committed meanwhile": {txflow.UpdateRollback, txflow.MemberStatus{State: workflows.Committed}, false, actions.Committed, ""},
		"still unknown":       {txflow.UpdateRecheck, txflow.MemberStatus{State: workflows.Parked, Reason: "undecided"}, false, actions.Rechecked, "it is parked: undecided"},
		"taken up":            {txflow.UpdateRecheck, txflow.MemberStatus{State: workflows.Running, Reason: "later"}, true, actions.Restarted, "it is running: later"},
		"undecided":           {txflow.UpdateCommit, txflow.MemberStatus{State: workflows.Parked, Reason: "why"}, false, actions.Refused, "it is parked: why"},
	} {
		o := judgeTx(tc.act, tc.m, tc.lost)
		require.Equal(t, actions.Outcome{Outcome: tc.want, Detail: tc.detail, State: string(tc.m.State)}, o, name)
	}
}
