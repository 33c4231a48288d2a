package transactions

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

func TestATargetIsWhereItGoesOn(t *testing.T) {
	known := Row{WorkflowID: "cohort/orders/7", RunID: "r", Group: "orders"}
	members := []txflow.MemberStatus{{ID: "1", State: workflows.Committed, Keys: []string{"k"}}, {ID: "2", State: workflows.Left, Keys: []string{"k", "l"}}}
	require.Equal(t, []target{{WorkflowID: "cohort/orders/7", RunID: "r", Tx: "1", key: "1"}}, targets(known, members, Filter{Key: "1"}))
	left := target{WorkflowID: "tx/orders/2", Tx: "2", key: "l"}
	require.Equal(t, []target{left}, targets(known, members, Filter{Key: "l"}))

	found, err := single("l", []target{{WorkflowID: "cohort/orders/6", Tx: "2"}, left, {WorkflowID: "recovery/orders/8", Tx: "2"}})
	require.NoError(t, err)
	require.Equal(t, left, found, "its own workflow goes before those that it shares")
	_, err = single("k", targets(known, members, Filter{Key: "k"}))
	require.ErrorContains(t, err, `"k" means 2 transactions: tx/orders/1, tx/orders/2`)
	_, err = single("k", nil)
	require.ErrorIs(t, err, holdfast.ErrNotFound)
}
