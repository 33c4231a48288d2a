package cookbook

import (
	"time"

	"github.com/holdfastmq/holdfast/saga"
)

// Built waits for a workshop that takes weeks. The pivot is before it: the order
// cannot be undone once it is paid, so what comes after is tried until it succeeds,
// or waits for an operator.
var Built = saga.Saga[Order]{
	Name: "built-order",
	Steps: []saga.Step[Order]{
		saga.Local("create-order", createOrder, cancelOrder),
		saga.Message("charge", "payment.charge", "payment.refund").AsPivot(),
		saga.Message("announce", "workshop.order", "").Forward(),
		saga.Wait("build", 60*24*time.Hour).Park(),
		saga.Message("ship", "shipping.create", "").
			Retry(saga.Retry{First: time.Minute, Max: time.Hour}).Forward(),
	},
}
