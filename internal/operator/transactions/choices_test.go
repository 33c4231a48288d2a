package transactions

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

func TestChoices(t *testing.T) {
	t.Parallel()
	all := []string{txflow.UpdateCommit, txflow.UpdateRollback, txflow.UpdateRecheck}
	for name, c := range map[string]struct {
		state   string
		m       txflow.MemberStatus
		choices []string
		says    string
	}{
		"parked":            {"parked", txflow.MemberStatus{State: workflows.Parked, Actions: all}, all, "is checked back now"},
		"of an old process": {"parked", txflow.MemberStatus{State: workflows.Parked}, all, "is checked back now"},
		"undelivered":       {"delivering", txflow.MemberStatus{State: workflows.Delivering, Resolution: holdfast.Commit, Actions: all[2:]}, all[2:], "has committed"},
		"what nobody knows": {"parked", txflow.MemberStatus{State: workflows.Parked, Actions: []string{"explode"}}, nil, "is checked back now"},
		"settled":           {"committed", txflow.MemberStatus{State: workflows.Committed}, nil, "is checked back now"},
		"lost":              {"terminated", txflow.MemberStatus{State: workflows.Checking}, all[2:], "was ended from outside"},
	} {
		c.m.ID = "1"
		d := Detail{Row: Row{Group: "orders", State: c.state, WorkflowID: "tx/orders/1"}}
		d.fill(t.Context(), nil, target{WorkflowID: "tx/orders/1", Tx: "1"}, txflow.Status{Transactions: []txflow.MemberStatus{c.m}}, history.Story{}, false)
		require.Equal(t, c.choices, d.Choices, name)
		require.Contains(t, strings.Join(d.Effects(txflow.UpdateRecheck), " "), c.says, name)
		require.Equal(t, name == "lost", d.Lost, name)
	}
	several := Detail{Row: Row{Group: "orders", State: "parked", WorkflowID: "cohort/orders/1"}}
	several.fill(t.Context(), nil, target{WorkflowID: "cohort/orders/1"}, txflow.Status{Transactions: []txflow.MemberStatus{{ID: "1", State: workflows.Parked, Actions: all},
		{ID: "2", State: workflows.Parked, Actions: all}}}, history.Story{}, false)
	require.Empty(t, several.Choices, "which one is not said")
	require.Nil(t, several.Effects("explode"))
}
