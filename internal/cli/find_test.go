package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestATargetIsWhereItGoesOn(t *testing.T) {
	known := row{WorkflowID: "cohort/orders/7", RunID: "r", Group: "orders"}
	members := []workflows.MemberStatus{{ID: "1", State: workflows.Committed, Keys: []string{"k"}}, {ID: "2", State: workflows.Left, Keys: []string{"k", "l"}}}
	require.Equal(t, []target{{workflowID: "cohort/orders/7", runID: "r", tx: "1", key: "1"}}, targets(known, members, filter{key: "1"}))
	left := target{workflowID: "tx/orders/2", tx: "2", key: "l"}
	require.Equal(t, []target{left}, targets(known, members, filter{key: "l"}))

	found, err := single("l", []target{{workflowID: "cohort/orders/6", tx: "2"}, left, {workflowID: "recovery/orders/8", tx: "2"}})
	require.NoError(t, err)
	require.Equal(t, left, found, "its own workflow goes before those that it shares")
	_, err = single("k", targets(known, members, filter{key: "k"}))
	require.ErrorContains(t, err, `"k" means 2 transactions: tx/orders/1, tx/orders/2`)
	_, err = single("k", nil)
	require.ErrorIs(t, err, holdfast.ErrNotFound)
}
