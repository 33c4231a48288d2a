package main

import (
	"context"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/worker"
)

// Payment is a charge. Nothing but Holdfast's inbox row keeps an order from
// being charged twice: OrderID is not unique.
type Payment struct {
	ID      int64 `gorm:"primaryKey"`
	OrderID string
	Amount  int64
}

// Reservation is goods set aside for an order; a compensated order's are
// released.
type Reservation struct {
	ID       int64 `gorm:"primaryKey"`
	OrderID  string
	Released bool
}

// GiftBooked is a gift as the payment service books it.
type GiftBooked struct {
	ID     int64 `gorm:"primaryKey"`
	GiftID string
}

// consumers adds what the payment service does.
func (s *service) consumers() {
	moods := &moods{db: s.db}
	s.w.Consume(worker.Consumer{
		Name: "payments", Topics: []string{OrderPlaced.Name},
		Handle: worker.Typed(OrderPlaced, moods.charge),
		Ladder: s.Ladder,
		// A card that is refused stays refused: give the order back at once. With
		// anything else, a person looks first.
		DeadLetters: holdfast.Policy{Action: holdfast.PolicyCompensatePermanent},
		Breaker:     broker.BreakerOptions{Failures: s.BreakerFailures, Pause: s.BreakerPause},
	})
	s.w.Consume(worker.Consumer{
		Name: "stock", Topics: []string{OrderPlaced.Name},
		Handle: worker.Typed(OrderPlaced, reserve),
		Undo:   release,
	})
	s.w.Consume(worker.Consumer{Name: "gifts", Topics: []string{GiftGranted.Name}, Handle: worker.Typed(GiftGranted, bookGift)})
}

func charge(_ context.Context, tx *gorm.DB, o Order, _ holdfast.Message) error {
	if err := tx.Create(&Payment{OrderID: o.ID, Amount: o.Amount}).Error; err != nil {
		return err
	}
	misbehave(insideHandler)
	return nil
}

func reserve(_ context.Context, tx *gorm.DB, o Order, _ holdfast.Message) error {
	return tx.Create(&Reservation{OrderID: o.ID}).Error
}

// release undoes reserve: another consumer could not do its part, and the order
// was given back.
func release(_ context.Context, tx *gorm.DB, m holdfast.Message, _ holdfast.Failure) error {
	return tx.Model(&Reservation{}).Where("order_id = ?", m.Key).Update("released", true).Error
}

func bookGift(_ context.Context, tx *gorm.DB, g Gift, _ holdfast.Message) error {
	return tx.Create(&GiftBooked{GiftID: g.ID}).Error
}
