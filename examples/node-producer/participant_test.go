package nodeproducer

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// purchase is a saga's state, and what its message carries.
type purchase struct {
	ID       string `json:"id"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

// buy is a saga in Go whose first step is done in Node.
var buy = saga.Saga[purchase]{
	Name: "buy",
	Key:  func(p purchase) string { return p.ID },
	Steps: []saga.Step[purchase]{
		saga.Message("reserve", "stock.reserve", "stock.release"),
		saga.Activity("pay", "Pay", "").NoUndo(),
	},
}

func TestParticipant(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.node("participant.mjs").says("taking part")
	w := s.run(worker.Options{Group: "shop"}, func(w *worker.Worker) {
		w.Saga(buy)
		w.Activity("Pay", func(_ context.Context, in saga.ActivityInput) error {
			if strings.HasSuffix(in.Saga, "-broke") {
				return temporal.NewApplicationError("no money left", sagas.RefusedType)
			}
			return nil
		})
	})
	db := s.db()
	reserved := func(id string) (n int) {
		t.Helper()
		require.NoError(t, db.Raw("SELECT count(*) FROM reservations WHERE saga = ?", workflows.SagaID(s.prefix, "shop", "buy", s.prefix+"-"+id)).Scan(&n).Error)
		return n
	}
	run := func(p purchase) error {
		p.ID = s.prefix + "-" + p.ID
		h, err := worker.StartSaga(t.Context(), w, buy, p)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		return err
	}

	require.NoError(t, run(purchase{ID: "good", Item: "anchor", Quantity: 1}))
	require.Equal(t, 1, reserved("good"))

	require.ErrorContains(t, run(purchase{ID: "much", Item: "anchor", Quantity: 11}), "only 10 of anchor are left")
	require.Zero(t, reserved("much"))

	require.ErrorIs(t, run(purchase{ID: "broke", Item: "anchor", Quantity: 1}), holdfast.ErrSagaCompensated)
	require.Zero(t, reserved("broke"), "the reservation was undone")
}
