package cookbook

import "github.com/holdfastmq/holdfast/saga"

// Shipped goes one of two ways, decided by the state at that moment.
var Shipped = saga.Saga[Order]{
	Name: "shipped-order",
	Steps: []saga.Step[Order]{
		saga.Local("create-order", createOrder, cancelOrder),
		saga.Choose("carrier", saga.Pick(func(o Order) string {
			if o.Express {
				return "express"
			}
			return "standard"
		}),
			saga.Case("express", saga.Message("book-courier", "courier.book", "courier.cancel")),
			saga.Otherwise(saga.Message("book-parcel", "parcel.book", "parcel.cancel")),
		),
		saga.Local("confirm-order", confirmOrder, nil).NoUndo(),
	},
}
