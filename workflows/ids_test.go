package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestIDs(t *testing.T) {
	letter := holdfast.DeadLetter{ID: "a/b", Queue: "q", Failure: holdfast.Failure{Consumer: "payments"}}
	for id, want := range map[string]workflows.ID{
		workflows.WorkflowID("", "orders", "1"):                               {Kind: "tx", Owner: "orders", Key: "1"},
		workflows.WorkflowID("holdfast", "orders", "1"):                       {Kind: "tx", Owner: "orders", Key: "1"},
		workflows.WorkflowID("shop", "orders", "a:b/c"):                       {Prefix: "shop", Kind: "tx", Owner: "orders", Key: "a:b/c"},
		workflows.CohortWorkflowID("shop", "orders", "u"):                     {Prefix: "shop", Kind: "cohort", Owner: "orders", Key: "u"},
		workflows.RecoveryWorkflowID("shop", "orders", "u"):                   {Prefix: "shop", Kind: "recovery", Owner: "orders", Key: "u"},
		workflows.SagaID("shop", "orders", "pay", "A:1"):                      {Prefix: "shop", Kind: "saga", Owner: "orders", Name: "pay", Key: "A:1"},
		workflows.SagaUndoID(workflows.SagaID("shop", "orders", "pay", "A1")): {Prefix: "shop", Kind: "saga", Owner: "orders", Name: "pay", Key: "A1", Undo: true},
		workflows.SagaID("", "orders", "pay", "undo"):                         {Kind: "saga", Owner: "orders", Name: "pay", Key: "undo"},
		workflows.DeadLetterID("shop", letter):                                {Prefix: "shop", Kind: "dead", Owner: "payments", Key: "a/b"},
	} {
		got, ok := workflows.ParseID(id)
		require.True(t, ok, id)
		require.Equal(t, want, got, id)
		require.Equal(t, id, got.String())
	}
	for _, id := range []string{"", "tx", "tx/orders", "shop:", ":tx/a/1", "shop:other/a/1", "a:b:tx/g/1", "saga/g/n", "saga/g/n/a/b", "saga/g/n/"} {
		_, ok := workflows.ParseID(id)
		require.False(t, ok, id)
	}
	before, ok := workflows.BeforePrefixes("shop:saga/orders/pay/A:1/undo")
	require.True(t, ok)
	require.Equal(t, "saga/orders/pay/A:1/undo", before)
	_, ok = workflows.BeforePrefixes("saga/orders/pay/1")
	require.False(t, ok)
}

// TestWhose: two installations may have had the same IDs before the prefix was part
// of them; their task queues tell them apart.
func TestWhose(t *testing.T) {
	for _, x := range []struct {
		prefix, id, queue string
		ours              bool
	}{
		{"shop", "shop:tx/orders/1", "shop.orders", true},
		{"shop", "tx/orders/1", "shop.orders", true},
		{"shop", "tx/orders/1", "holdfast.orders", false},
		{"shop", "other:tx/orders/1", "other.orders", false},
		{"holdfast", "tx/orders/1", "holdfast.orders", true},
		{"holdfast", "tx/orders/1", "shop.orders", false},
		{"holdfast", "shop:tx/orders/1", "shop.orders", false},
		{"a", "tx/b.c/1", "a.b.c", true},
		{"a", "a.b:tx/c/1", "a.b.c", false},
		{"shop", "dead/payments/1", "shop/dead-letters", true},
		{"shop", "dead/payments/1", "holdfast/dead-letters", false},
		{"shop", "something", "shop.orders", false},
	} {
		require.Equal(t, x.ours, workflows.IsOurs(x.prefix, x.id, x.queue), "%+v", x)
	}
}
