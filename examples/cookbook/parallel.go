package cookbook

import "github.com/holdfastmq/holdfast/saga"

// Reserved asks three participants at once. If one of them refuses, what the
// others did is undone, one after the other.
var Reserved = saga.Saga[Order]{
	Name: "reserved-order",
	Steps: []saga.Step[Order]{
		saga.Local("create-order", createOrder, cancelOrder),
		saga.Parallel("reserve",
			saga.Message("reserve-stock", "stock.reserve", "stock.release").
				Receive(saga.Into(func(o *Order, shelf string) error { o.Shelf = shelf; return nil })),
			saga.Message("hold-payment", "payment.hold", "payment.release").
				Receive(saga.Into(func(o *Order, receipt string) error { o.Receipt = receipt; return nil })),
			saga.Sequence("carrier",
				saga.Message("reserve-van", "van.reserve", "van.release"),
				saga.Message("reserve-driver", "driver.reserve", "driver.release"),
			),
		),
		saga.Local("confirm-order", confirmOrder, nil).NoUndo(),
	},
}
