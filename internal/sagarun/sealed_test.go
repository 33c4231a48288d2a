package sagarun

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// A state that is encrypted for a saga is opened for its sub-sagas, at whatever depth, and
// theirs for it; and for nobody else's.
func TestRelatedSagas(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"holdfast", "shop"} {
		for _, key := range []string{"o-1", "a/b", "x.y", "undo", "ü", "a b", "1%2"} {
			id := workflows.SagaID(prefix, "orders", "pay", key)
			sub := workflows.WithoutGroup(id) + ".step"
			subID := workflows.SagaID(prefix, "orders", "walk", sub)
			second := workflows.WithoutGroup(id) + ".step.2"
			deep := workflows.WithoutGroup(subID) + ".inner"
			deepID := workflows.SagaID(prefix, "orders", "tie", deep)
			related := func(id, key, owner string) bool {
				return (&program{ref: activities.SagaRef{ID: id, Key: key}}).related(owner)
			}
			require.True(t, related(subID, sub, id), key)
			require.True(t, related(workflows.SagaID(prefix, "orders", "walk", second), second, id), key)
			require.True(t, related(deepID, deep, id), key)
			require.True(t, related(deepID, deep, subID), key)
			require.True(t, related(id, key, subID), key)
			require.True(t, related(id, key, deepID), key)

			other := workflows.SagaID(prefix, "orders", "pay", key+"0")
			require.False(t, related(subID, sub, other), key)
			require.False(t, related(id, key, other), key)
			require.False(t, related(other, key+"0", id), key)
			require.False(t, related(other, key+"0", subID), key)
			require.False(t, related(id, key, "nonsense"), key)
		}
	}
	before := workflows.SagaID("", "orders", "pay", "1")
	p := &program{ref: activities.SagaRef{ID: before, Key: "1"}}
	require.True(t, p.related(workflows.SagaID("shop", "orders", "pay", "1")), "its ID of before the prefix was part of it")
}
