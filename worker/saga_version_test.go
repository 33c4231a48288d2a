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
	w := s.agency(first, second)
	j, _ := s.begunTravel(barrier.HolderWorkflow, time.Now())
	h, err := worker.StartSaga(s.ctx(), w.Worker, second, j)
	require.NoError(t, err)
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do a", "do old"}, s.logged(s.orders, j.ID))
	require.Equal(t, 1, s.sagaStatus(h.ID()).Version)

	fresh := journey{ID: newID()}
	h, err = worker.StartSaga(s.ctx(), w.Worker, second, fresh)
	require.NoError(t, err)
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do a", "do new"}, s.logged(s.orders, fresh.ID))
}
