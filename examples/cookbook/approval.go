package cookbook

import (
	"context"
	"time"

	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// Approved waits for a person. Without an answer within two days, or after a
// refusal, the order is cancelled.
var Approved = saga.Saga[Order]{
	Name: "approved-order",
	Key:  func(o Order) string { return o.ID },
	Steps: []saga.Step[Order]{
		saga.Local("create-order", createOrder, cancelOrder),
		saga.Wait("approve", 48*time.Hour).
			Receive(saga.Into(func(o *Order, by string) error { o.Approved = by; return nil })),
		saga.Local("confirm-order", confirmOrder, nil).NoUndo(),
	},
}

// Approve answers from the service that has the button.
func Approve(ctx context.Context, w *worker.Worker, order, who string) error {
	by := worker.By{Operator: who, Reason: "within the limit"}
	return worker.JoinSaga(w, Approved, order).Approve(ctx, "approve", who, by)
}
