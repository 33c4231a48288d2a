package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/waits"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestRetryNowMeans: a part of what waits, by its name or its group.
func TestRetryNowMeans(t *testing.T) {
	t.Parallel()
	n := waits.Nudge{ID: "saga/shop/travel/1", For: "participant seat.take", Signal: sagaflow.UpdateRetry}
	for f, want := range map[retryNowFlags]bool{{}: true, {what: "seat"}: true, {what: "stock"}: false, {group: "shop"}: true, {group: "sho"}: false, {what: "seat", group: "other"}: false} {
		require.Equal(t, want, f.means(n), "%+v", f)
	}
	require.False(t, retryNowFlags{group: "shop"}.means(waits.Nudge{ID: "saga/shop/travel/1"}), "a breaker or a delay is of no group")
}
