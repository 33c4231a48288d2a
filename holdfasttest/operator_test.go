package holdfasttest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/saga"
)

// at calls f while the saga waits for the reply of reserve-stock.
func at(k *holdfasttest.Kit, f func()) {
	k.DelayReply("reserve-stock", false, time.Minute).Times(1)
	k.OnDo("reserve-stock", f)
}

func TestOperators(t *testing.T) {
	for name, tt := range map[string]struct {
		plan     func(k *holdfasttest.Kit)
		err      error
		steps    []string
		rejected int
	}{
		"pause": {
			func(k *holdfasttest.Kit) { at(k, func() { k.Pause("look") }) },
			holdfast.ErrSagaPending, []string{"do create-order", "do reserve-stock"}, 0},
		"pause and resume": {
			func(k *holdfasttest.Kit) {
				at(k, func() { k.Pause("look") })
				k.OnState(holdfast.SagaPaused, func(holdfast.SagaStanding) { k.Resume("seen") })
			}, nil, whole, 0},
		"compensate": {
			func(k *holdfasttest.Kit) { at(k, func() { k.Compensate("by mistake") }) },
			holdfast.ErrSagaCompensated, []string{"do create-order", "do reserve-stock", "undo reserve-stock", "undo create-order"}, 0},
		"cancel": {
			func(k *holdfasttest.Kit) { at(k, k.Cancel) },
			holdfast.ErrSagaCompensated, []string{"do create-order", "do reserve-stock", "undo reserve-stock", "undo create-order"}, 0},
		"retry what is parked": {
			func(k *holdfasttest.Kit) {
				k.FailDo("ship", saga.Refuse("no van")).Times(1)
				k.OnState(holdfast.SagaParked, func(s holdfast.SagaStanding) { k.Retry(s.Step, "the van is back") })
			}, nil,
			[]string{"do create-order", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship: refused", "do ship"}, 0},
		"skip what is parked": {
			func(k *holdfasttest.Kit) {
				k.FailDo("ship", saga.Refuse("no van"))
				k.OnState(holdfast.SagaParked, func(s holdfast.SagaStanding) { k.Skip("ship", "taken along by hand") })
			}, nil,
			[]string{"do create-order", "do reserve-stock", "do charge-payment", "do confirm-order", "do ship: refused"}, 0},
		"retry what could not be undone": {
			func(k *holdfasttest.Kit) {
				k.FailDo("charge-payment", saga.Refuse("no"))
				k.FailUndo("reserve-stock", holdfast.Permanent(errNotNow)).Times(1)
				k.OnState(holdfast.SagaCompensationFailed, func(s holdfast.SagaStanding) { k.Retry("", "mended") })
			}, holdfast.ErrSagaCompensated,
			[]string{"do create-order", "do reserve-stock", "do charge-payment: refused", "undo reserve-stock: failed", "undo create-order", "undo reserve-stock"}, 0},
		"what is not possible": {
			func(k *holdfasttest.Kit) { at(k, func() { k.Resume("nothing to resume") }) }, nil, whole, 1},
		"before it has begun": {
			func(k *holdfasttest.Kit) { k.Answer("nothing", 1) }, nil, whole, 1},
		"compensated while undoing": {
			func(k *holdfasttest.Kit) {
				k.FailDo("charge-payment", saga.Refuse("no"))
				k.OnUndo("create-order", func() { k.Compensate("again") })
			}, holdfast.ErrSagaCompensated,
			[]string{"do create-order", "do reserve-stock", "do charge-payment: refused", "undo reserve-stock", "undo create-order"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			k := shop(t)
			tt.plan(k)
			res := holdfasttest.RunSaga(k, orderPayment, order{Number: "A-1"})
			if tt.err == nil {
				require.NoError(t, res.Err)
			} else {
				require.ErrorIs(t, res.Err, tt.err)
			}
			require.Equal(t, tt.steps, res.Steps)
			require.Len(t, res.Rejected, tt.rejected)
		})
	}
}
