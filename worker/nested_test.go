package worker_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// TestSendInsideSend: local transactions that send, and wait for that, while they
// themselves are all that may be in flight.
func TestSendInsideSend(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.patient(func(o *worker.Options) { o.Tuning.CohortsInFlight = 1 })
	inner := make(chan holdfast.Receipt, 4)
	got := s.together(w, 4, func(i int) (context.Context, holdfast.Message, worker.Local) {
		return s.ctx(), plain(i), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			receipt, err := w.Send(ctx, plain(10+i), insert)
			if err != nil {
				return err
			}
			inner <- receipt
			if i == 3 {
				return errOops
			}
			return insert(ctx, tx, m)
		}
	})
	for i, g := range got {
		s.oneEffect(next(t, inner).TxID)
		if i == 3 {
			require.ErrorIs(t, g.err, errOops)
			continue
		}
		require.NoError(t, g.err)
		s.oneEffect(g.receipt.TxID)
	}
}

// TestCohortWithFewConnections: a cohort of many, and a pool of two.
func TestCohortWithFewConnections(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	few := openDB(t, s.at.OrdersURL)
	pool, err := few.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(2)
	w := s.producer(func(o *worker.Options) { o.DB = few })
	for _, g := range s.together(w, 36, func(i int) (context.Context, holdfast.Message, worker.Local) { return s.ctx(), plain(i), insert }) {
		require.NoError(t, g.err)
		s.oneEffect(g.receipt.TxID)
	}
}
