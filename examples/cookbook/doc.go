// Package cookbook has the code of the recipes in docs/cookbook.md, each with a
// test that runs it without a server.
package cookbook

import (
	"context"

	"gorm.io/gorm"
)

// Order is the state of most sagas here, and the row that they write.
type Order struct {
	ID       string `gorm:"primaryKey"`
	Amount   int64
	Express  bool
	State    string
	Number   string
	Approved string // by whom
	Shelf    string // where the goods are
	Receipt  string // of the payment
}

func createOrder(_ context.Context, tx *gorm.DB, o *Order) error {
	o.State = "pending"
	return tx.Create(o).Error
}

func cancelOrder(_ context.Context, tx *gorm.DB, o *Order) error {
	return tx.Model(o).Update("state", "cancelled").Error
}

func confirmOrder(_ context.Context, tx *gorm.DB, o *Order) error {
	o.State = "confirmed"
	return tx.Model(o).Update("state", o.State).Error
}
