package worker_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/worker"
)

// TestSameInstance: two processes of one group and one name run each their own closures,
// and the second is told that there is another one.
func TestSameInstance(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	bell := &bells{}
	named := func() worker.Options {
		o := s.options()
		o.Temporal, o.Instance, o.OnAlert = s.dial(&cable{lazy: true}), "pod-0", bell.ring
		return o
	}
	caller := s.run(named())
	w, err := worker.New(named())
	require.NoError(t, err)
	w.LookAgainAfter(50 * time.Millisecond)
	second := runWorker(t, w)
	elsewhere := 0
	for n := 0; elsewhere < 3; n++ {
		require.Less(t, n, 200, "the other process never gets a workflow")
		id := newID()
		receipt, err := caller.Send(s.ctx(), order(id), insert)
		require.NoError(t, err)
		require.Equal(t, holdfast.Commit, receipt.Resolution)
		require.Equal(t, 1, s.ordered(id))
		if steps := s.scheduled(id); slices.Contains(steps, activities.LocalTransactionInProcess) {
			elsewhere++
			require.NotContains(t, steps, activities.CheckBack)
		}
	}
	until(t, "an alert", func() bool { return len(bell.of(holdfast.AlertSameInstance)) > 0 })
	require.Contains(t, bell.of(holdfast.AlertSameInstance)[0].Reason, "2 processes of group orders have the Options.Instance pod-0")
	second.stop()
	_, err = caller.Send(context.Background(), order(""), insert)
	require.NoError(t, err)
	require.Len(t, bell.of(holdfast.AlertSameInstance), 1, "it is told once")
}
