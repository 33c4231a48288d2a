package cookbook

import (
	"github.com/holdfastmq/holdfast/saga"
)

// Returnable can be undone after its end: the steps after the pivot have an Undo,
// too, for an operator who compensates it later.
var Returnable = saga.Saga[Order]{
	Name: "returnable-order",
	Key:  func(o Order) string { return o.ID },
	Steps: []saga.Step[Order]{
		saga.Local("create-order", createOrder, cancelOrder),
		saga.Message("charge", "payment.charge", "payment.refund").AsPivot(),
		saga.Message("ship", "shipping.create", "shipping.recall").Forward(),
		saga.Local("confirm-order", confirmOrder, nil).NoUndo(), // cancelOrder takes a confirmed order, too
	},
}
