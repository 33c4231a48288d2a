package cookbook

import (
	"time"

	"github.com/holdfastmq/holdfast/saga"
)

// Checked has a person look at large orders only.
var Checked = saga.Saga[Order]{
	Name: "checked-order",
	Steps: []saga.Step[Order]{
		saga.Local("create-order", createOrder, cancelOrder),
		saga.Wait("approve", 24*time.Hour).
			When(saga.If(func(o Order) bool { return o.Amount >= 1_000_00 })),
		saga.Local("confirm-order", confirmOrder, nil).NoUndo(),
	},
}
