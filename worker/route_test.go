package worker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

func TestUnroutable(t *testing.T) { inLanes(t, testUnroutable) }

func testUnroutable(t *testing.T, l lane) {
	s := newSite(t)
	w := s.producer(l.set, func(o *worker.Options) {
		if !l.traced { // it has no history before it is handed over
			o.CheckAfter = 10 * time.Second
		}
	})

	t.Run("allowed", func(t *testing.T) {
		m := order(newID())
		m.AllowUnrouted = true
		receipt, err := w.Send(t.Context(), m, insert)
		require.NoError(t, err)
		require.Equal(t, holdfast.Commit, receipt.Resolution)
		if l.traced {
			require.Equal(t, workflows.Committed, s.ended(m.ID).State)
		}
	})

	id := newID()
	receipt, err := w.Send(t.Context(), order(id), insert)
	require.ErrorIs(t, err, holdfast.ErrDeliveryPending, "its caller need not wait")
	require.ErrorIs(t, err, holdfast.ErrUnroutable)
	require.ErrorContains(t, err, "no consumer is bound to "+placed)
	require.Equal(t, holdfast.Commit, receipt.Resolution)
	require.Equal(t, id, receipt.Messages[0].ID)
	require.Equal(t, 1, s.ordered(id))

	until(t, "its workflow", func() bool {
		_, err := s.temporal.QueryWorkflow(s.ctx(), receipt.WorkflowID, "", workflows.QueryStatus)
		return err == nil
	})
	// It is tried again, and parks. An operator need not wait for that.
	for s.status(id).State != workflows.Parked {
		status, err := s.ask(id, transactions.UpdateRecheck)
		if err != nil {
			require.ErrorContains(t, err, "is being delivered") // a try was under way
			continue
		}
		require.Contains(t, status.Reason, "no consumer is bound to "+placed)
	}
	s.found(workflows.AttributeState+" = 'parked' AND "+workflows.AttributeTopic+" = '"+placed+"'", id)
	_, err = s.ask(id, transactions.UpdateRollback)
	require.ErrorContains(t, err, "decided already")
	status, err := s.ask(id, transactions.UpdateRecheck)
	require.NoError(t, err)
	require.Equal(t, workflows.Delivering, status.State, "still nobody is bound")

	s.consuming(payments(s.effects))
	until(t, "delivery, now that a consumer is bound", func() bool {
		_, _ = s.ask(id, transactions.UpdateRecheck) // which has ended, if its consumer was quicker
		return s.status(id).State == workflows.Committed
	})
	s.oneEffect(id)
	s.found(workflows.AttributeState+" = 'committed' AND "+workflows.AttributeKey+" = 'K-"+id+"'", id)
}

// TestUnroutableHeals: without an operator, too.
func TestUnroutableHeals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.producer()
	id := newID()
	_, err := w.Send(t.Context(), order(id), insert)
	require.ErrorIs(t, err, holdfast.ErrDeliveryPending)
	s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix}, payments(s.effects))
	s.oneEffect(id)
	require.Equal(t, workflows.Committed, s.ended(id).State)
}

// found waits until the visibility store finds the transaction's workflow.
func (s *site) found(query, id string) {
	s.t.Helper()
	until(s.t, "workflow "+id+" found by "+query, func() bool {
		list, err := s.list(query)
		require.NoError(s.t, err)
		for _, found := range list {
			if found == workflows.WorkflowID(s.at.Prefix, group, id) {
				return true
			}
		}
		return false
	})
}
