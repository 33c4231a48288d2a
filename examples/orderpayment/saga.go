package main

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/saga"
)

// approveFrom is the amount from which a person looks at an order first.
const approveFrom = 1_000_00

// stepApprove is the step that waits for that person.
const stepApprove = "approve"

// orderPayment is the saga: before the payment is made, whatever fails undoes the
// rest; after it, shipping is tried until it succeeds. An operator can compensate
// it at any time, also when it has completed: then the parcel is recalled.
func orderPayment(approval time.Duration) saga.Saga[Order] {
	return saga.Saga[Order]{
		Name: "order-payment",
		Key:  func(o Order) string { return o.ID },
		Steps: []saga.Step[Order]{
			saga.Local("create-order", createOrder, cancelOrder),
			saga.Message("reserve-stock", stockReserve, stockRelease),
			saga.Wait(stepApprove, approval).
				When(saga.If(func(o Order) bool { return o.Amount >= approveFrom })),
			saga.Message("charge-payment", paymentCharge, paymentRefund).
				Retry(saga.Retry{Attempts: 2}).AsPivot(),
			saga.Local("confirm-order", confirmOrder, nil).NoUndo(), // cancelOrder takes a confirmed one, too
			saga.Message("ship", shippingCreate, shippingRecall).Forward().
				Receive(saga.Into(func(o *Order, s Shipped) error { o.Tracking = s.Tracking; return nil })),
		},
	}
}

// createOrder writes the order; its number, which the database gives, is in the
// saga's state from then on.
func createOrder(_ context.Context, tx *gorm.DB, o *Order) error {
	o.State = statePending
	return tx.Create(o).Error
}

func confirmOrder(_ context.Context, tx *gorm.DB, o *Order) error {
	o.State = stateConfirmed
	return tx.Model(o).Update("state", o.State).Error
}

// cancelOrder undoes createOrder. It runs only where that took effect, and keeps
// the order, so that one can see what became of it.
func cancelOrder(_ context.Context, tx *gorm.DB, o *Order) error {
	return tx.Model(o).Update("state", stateCancelled).Error
}
