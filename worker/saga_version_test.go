package worker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
)

// TestSagaThatAnotherVersionBegan: a saga goes on by the version that it began with, also where the process
// that began it has died before it had a workflow, and who starts its key again has the next version.
func TestSagaThatAnotherVersionBegan(t *testing.T) { inBothWays(t, testSagaThatAnotherVersionBegan) }

func testSagaThatAnotherVersionBegan(t *testing.T, s *site, quickTravel quickly) {
	first, second := quickTravel(local("a"), local("old")), quickTravel(local("a"), local("new"))
	second.Version = 2
	w, sender := s.agency(first, second), s.sender()
	for name, again := range map[string]struct {
		starts *running
		holder string // who began it, and is gone
	}{
		"left to a workflow":       {w, barrier.HolderWorkflow},
		"of a cohort that is gone": {w, "cohort/" + newID() + "/0a1b2c3d"},
		"by who only sends":        {sender, barrier.HolderWorkflow},
		"of a start, by a sender":  {sender, newID()},
	} {
		j, _ := s.begunTravel(again.holder, time.Now())
		h, err := worker.StartSaga(s.ctx(), again.starts.Worker, second, j)
		require.NoError(t, err, name)
		require.NoError(t, wait(s, h), name)
		require.Equal(t, []string{"do a", "do old"}, s.logged(s.orders, j.ID), name)
		require.Equal(t, 1, s.sagaStatus(h.ID()).Version, name)
	}

	fresh := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, second, fresh)
	require.NoError(t, err)
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do a", "do new"}, s.logged(s.orders, fresh.ID))
}
