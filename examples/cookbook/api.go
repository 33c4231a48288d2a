package cookbook

import (
	"context"
	"encoding/json"
	"fmt"

	"go.temporal.io/sdk/temporal"

	"github.com/holdfastmq/holdfast/saga"
)

// Charged calls somebody else's API, which knows nothing of step rows.
var Charged = saga.Saga[Order]{
	Name: "charged-order",
	Steps: []saga.Step[Order]{
		saga.Local("create-order", createOrder, cancelOrder),
		saga.Activity("charge", "Charge", "Refund").On("payments").
			Receive(saga.Into(func(o *Order, receipt string) error { o.Receipt = receipt; return nil })),
		saga.Local("confirm-order", confirmOrder, nil).NoUndo(),
	},
}

// Bank is the API: it remembers what it did by the key that it is given.
type Bank interface {
	Charge(ctx context.Context, key string, amount int64) (receipt string, declined bool, err error)
	// Refund gives back what Charge took with that key, and from then on refuses to
	// charge with it.
	Refund(ctx context.Context, key string) error
}

// Payments are the activities.
type Payments struct{ Bank Bank }

// Charge may be run more than once: the key is the same each time.
func (p *Payments) Charge(ctx context.Context, in saga.ActivityInput) (string, error) {
	var o Order
	if err := json.Unmarshal(in.Data, &o); err != nil {
		return "", temporal.NewNonRetryableApplicationError("the order cannot be read", "", err)
	}
	receipt, declined, err := p.Bank.Charge(ctx, in.Saga+"/"+in.Step, o.Amount)
	if declined {
		return "", temporal.NewApplicationError("the card is declined", saga.RefusedType)
	}
	if err != nil {
		return "", fmt.Errorf("charge order %s: %w", o.ID, err)
	}
	return receipt, nil
}

// Refund also runs where Charge may not have run: the bank has to know.
func (p *Payments) Refund(ctx context.Context, in saga.ActivityInput) error {
	return p.Bank.Refund(ctx, in.Saga+"/"+in.Step)
}
