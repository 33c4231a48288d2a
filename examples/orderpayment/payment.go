package main

import (
	"context"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// Payment is a charge. Nothing but Holdfast's inbox row keeps an order from
// being charged twice: OrderID is not unique.
type Payment struct {
	ID      int64 `gorm:"primaryKey"`
	OrderID string
	Amount  int64
}

// GiftBooked is a gift as the payment service books it.
type GiftBooked struct {
	ID     int64 `gorm:"primaryKey"`
	GiftID string
}

// consumers adds what the payment service does.
func consumers(w *worker.Worker) {
	w.Consume(worker.Consumer{Name: "payments", Topics: []string{OrderPlaced.Name}, Handle: worker.Typed(OrderPlaced, charge)})
	w.Consume(worker.Consumer{Name: "gifts", Topics: []string{GiftGranted.Name}, Handle: worker.Typed(GiftGranted, bookGift)})
}

func charge(_ context.Context, tx *gorm.DB, o Order, _ holdfast.Message) error {
	if err := tx.Create(&Payment{OrderID: o.ID, Amount: o.Amount}).Error; err != nil {
		return err
	}
	misbehave(insideHandler)
	return nil
}

func bookGift(_ context.Context, tx *gorm.DB, g Gift, _ holdfast.Message) error {
	return tx.Create(&GiftBooked{GiftID: g.ID}).Error
}
