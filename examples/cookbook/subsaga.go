package cookbook

import (
	"github.com/holdfastmq/holdfast/saga"
)

// Payment is the state of a saga that can be started by itself, too.
type Payment struct {
	Order  string
	Amount int64
	Code   string
}

// Pay is such a saga.
var Pay = saga.Saga[Payment]{
	Name: "pay",
	Steps: []saga.Step[Payment]{
		saga.Message("authorize", "card.authorize", "card.void").
			Receive(saga.Into(func(p *Payment, code string) error { p.Code = code; return nil })),
		saga.Message("capture", "card.capture", "card.refund"),
	},
}

// Paid has it as a step. Undone, the whole of it is compensated.
var Paid = saga.Saga[Order]{
	Name: "paid-order",
	Steps: []saga.Step[Order]{
		saga.Local("create-order", createOrder, cancelOrder),
		saga.Sub("pay", Pay).
			Send(saga.From(func(o Order) Payment { return Payment{Order: o.ID, Amount: o.Amount} })).
			Receive(saga.Into(func(o *Order, p Payment) error { o.Receipt = p.Code; return nil })),
		saga.Local("confirm-order", confirmOrder, nil).NoUndo(),
	},
}
