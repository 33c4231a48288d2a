package worker_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestStart(t *testing.T) { inLanes(t, testStart) }

func testStart(t *testing.T, l lane) {
	s := newSite(t)
	s.consuming(payments(s.effects))
	// The caller has no handler, and the workflow begins in its process.
	caller := s.producer(l.set)
	o := s.options()
	l.set(&o)
	here := s.runWith(o, func(w *worker.Worker) {
		w.Local("place", func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			m.Body = append(m.Body, " placed"...)
			return insert(ctx, tx, m)
		})
		w.Local("refuse", func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			require.NoError(t, insert(ctx, tx, m))
			return errOops
		})
	})

	t.Run("on this process", func(t *testing.T) {
		id := newID()
		receipt, err := here.Start(t.Context(), "place", order(id))
		require.NoError(t, err)
		require.Equal(t, holdfast.Commit, receipt.Resolution)
		require.Equal(t, "order "+id+" placed", string(receipt.Messages[0].Body))
		require.Equal(t, "order "+id+" placed", s.oneEffect(id).Body)
		require.Equal(t, 1, s.ordered(id))
		if !l.traced {
			s.noWorkflow(id)
		}
	})

	t.Run("on another process only", func(t *testing.T) {
		id := newID()
		receipt, err := caller.Start(t.Context(), "place", order(id))
		require.NoError(t, err)
		require.Equal(t, holdfast.Commit, receipt.Resolution)
		require.Equal(t, "order "+id+" placed", s.oneEffect(id).Body)
		require.Equal(t, 1, s.ordered(id))
		require.NotContains(t, s.scheduled(id), activities.CheckBack)
	})

	t.Run("rolled back", func(t *testing.T) {
		for _, w := range []*running{here, caller} {
			id := newID()
			receipt, err := w.Start(t.Context(), "refuse", order(id))
			require.ErrorIs(t, err, holdfast.ErrRolledBack)
			require.ErrorContains(t, err, errOops.Error())
			require.Equal(t, holdfast.Rollback, receipt.Resolution)
			if l.traced || w == caller { // who has to have it run elsewhere
				require.Equal(t, workflows.RolledBack, s.ended(id).State)
			}
			require.Zero(t, s.ordered(id))
		}
	})
}

// TestEagerStartDenied: the workflow begins wherever, and the closure is run in
// the process that holds it, without a check-back.
func TestEagerStartDenied(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	o := s.options()
	o.Temporal = s.dial(&cable{lazy: true})
	caller := s.run(o)
	s.producer() // the other one
	elsewhere := false
	for n := 0; !elsewhere; n++ {
		require.Less(t, n, 200, "the other process never gets a workflow")
		id := newID()
		receipt, err := caller.Send(t.Context(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			m.Key = "changed"
			return insert(ctx, tx, m)
		})
		require.NoError(t, err)
		require.Equal(t, holdfast.Commit, receipt.Resolution)
		require.Equal(t, "changed", receipt.Messages[0].Key)
		require.Equal(t, 1, s.ordered(id))
		require.Equal(t, "changed", s.oneEffect(id).Key)
		require.Equal(t, workflows.Committed, s.ended(id).State)
		steps := s.scheduled(id)
		require.NotContains(t, steps, activities.CheckBack)
		if elsewhere = slices.Contains(steps, activities.LocalTransactionInProcess); elsewhere {
			s.found(workflows.AttributeKey+" = 'changed'", id)
		}
	}
	// Rolled back, until that ran elsewhere, too.
	for elsewhere = false; !elsewhere; {
		id := newID()
		_, err := caller.Send(t.Context(), order(id), func(context.Context, *gorm.DB, *holdfast.Message) error { return errOops })
		require.ErrorIs(t, err, holdfast.ErrRolledBack)
		require.ErrorIs(t, err, errOops, "the caller gets its own error, wherever the workflow ran")
		require.Zero(t, s.ordered(id))
		require.Equal(t, workflows.RolledBack, s.ended(id).State)
		elsewhere = slices.Contains(s.scheduled(id), activities.LocalTransactionInProcess)
	}
}
