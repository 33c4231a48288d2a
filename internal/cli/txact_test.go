package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestJudgeTransactions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		act    string
		m      workflows.MemberStatus
		lost   bool
		want   verdict
		detail string
	}{
		"committed":           {workflows.UpdateCommit, workflows.MemberStatus{State: workflows.Committed}, false, isCommitted, ""},
		"not delivered yet":   {workflows.UpdateCommit, workflows.MemberStatus{State: workflows.Delivering, Resolution: holdfast.Commit, Reason: "no route"}, false, isCommitted, "it is delivering: no route"},
		"rolled back":         {workflows.UpdateRollback, workflows.MemberStatus{State: workflows.RolledBack}, false, isRolledBack, ""},
		"committed meanwhile": {workflows.UpdateRollback, workflows.MemberStatus{State: workflows.Committed}, false, isCommitted, ""},
		"still unknown":       {workflows.UpdateRecheck, workflows.MemberStatus{State: workflows.Parked, Reason: "undecided"}, false, isRechecked, "it is parked: undecided"},
		"taken up":            {workflows.UpdateRecheck, workflows.MemberStatus{State: workflows.Running, Reason: "later"}, true, isRestarted, "it is running: later"},
		"undecided":           {workflows.UpdateCommit, workflows.MemberStatus{State: workflows.Parked, Reason: "why"}, false, isRefused, "it is parked: why"},
	} {
		o := judgeTx(tc.act, tc.m, tc.lost)
		require.Equal(t, outcome{Outcome: tc.want, Detail: tc.detail, State: string(tc.m.State)}, o, name)
	}
}
