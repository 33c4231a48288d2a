package cookbook

import (
	"context"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/saga"
)

// Numbered makes a number once. The step row keeps what the step changed in the
// state, so every later step, every Undo and every repetition has the same number.
var Numbered = saga.Saga[Order]{
	Name: "numbered-order",
	Steps: []saga.Step[Order]{
		saga.Local("number-order", func(_ context.Context, tx *gorm.DB, o *Order) error {
			o.Number = "N-" + uuid.NewString()
			return tx.Create(o).Error
		}, cancelOrder),
		saga.Message("print-invoice", "invoice.print", "invoice.void"),
	},
}
