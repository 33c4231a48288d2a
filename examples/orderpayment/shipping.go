package main

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/worker"
)

// Shipment is a parcel on its way, or called back. OrderID is not unique here
// either.
type Shipment struct {
	ID       int64 `gorm:"primaryKey"`
	OrderID  string
	Recalled bool
}

// Shipped is what the shipping service answers.
type Shipped struct {
	Tracking string `json:"tracking"`
}

// shippingService adds what the shipping service does.
func (s *service) shippingService() {
	moods := &moods{db: s.db}
	s.w.Participate(worker.Participant{
		Topic: shippingCreate,
		Do: worker.TypedParticipation(func(ctx context.Context, tx *gorm.DB, o Order) (Shipped, error) {
			if err := moods.trouble(ctx, o.ID); err != nil {
				return Shipped{}, err
			}
			return ship(tx, o)
		}),
		UndoTopic: shippingRecall, Undo: worker.TypedParticipation(recall),
		Ladder: s.Ladder,
	})
}

func ship(tx *gorm.DB, o Order) (Shipped, error) {
	parcel := Shipment{OrderID: o.ID}
	err := tx.Create(&parcel).Error
	return Shipped{Tracking: fmt.Sprintf("HF%06d", parcel.ID)}, err
}

func recall(_ context.Context, tx *gorm.DB, o Order) (any, error) {
	return nil, tx.Model(&Shipment{}).Where("order_id = ?", o.ID).Update("recalled", true).Error
}
