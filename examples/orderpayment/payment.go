package main

import (
	"context"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// Payment is a charge. Nothing but Holdfast's rows keeps an order from being
// charged twice: OrderID is not unique.
type Payment struct {
	ID       int64 `gorm:"primaryKey"`
	OrderID  string
	Amount   int64
	Refunded bool
}

// GiftBooked is a gift as the payment service books it.
type GiftBooked struct {
	ID     int64 `gorm:"primaryKey"`
	GiftID string
}

// paymentService adds what the payment service does.
func (s *service) paymentService() {
	moods := &moods{db: s.db}
	s.w.Participate(worker.Participant{
		Topic: paymentCharge, Do: worker.TypedParticipation(func(ctx context.Context, tx *gorm.DB, o Order) (any, error) {
			if err := moods.trouble(ctx, o.ID); err != nil {
				return nil, err
			}
			return nil, charge(tx, o)
		}),
		UndoTopic: paymentRefund, Undo: worker.TypedParticipation(refundPayment),
		Ladder: s.Ladder,
	})
	s.w.Consume(worker.Consumer{
		Name: "payments", Topics: []string{OrderPlaced.Name},
		Handle: worker.TypedHandle(OrderPlaced, func(ctx context.Context, tx *gorm.DB, o Order, _ holdfast.Message) error {
			if err := moods.trouble(ctx, o.ID); err != nil {
				return err
			}
			return charge(tx, o)
		}),
		Ladder: s.Ladder,
		// A card that is refused stays refused: give the order back at once. With
		// anything else, a person looks first.
		DeadLetters: holdfast.Policy{Action: holdfast.PolicyCompensatePermanent},
		Breaker:     worker.BreakerOptions{Failures: s.BreakerFailures, Pause: s.BreakerPause},
	})
	s.w.Consume(worker.Consumer{Name: "gifts", Topics: []string{GiftGranted.Name},
		Handle: worker.TypedHandle(GiftGranted, bookGift)})
}

func charge(tx *gorm.DB, o Order) error {
	if err := tx.Create(&Payment{OrderID: o.ID, Amount: o.Amount}).Error; err != nil {
		return err
	}
	misbehave(insideHandler)
	return nil
}

func refundPayment(_ context.Context, tx *gorm.DB, o Order) (any, error) {
	return nil, tx.Model(&Payment{}).Where("order_id = ?", o.ID).Update("refunded", true).Error
}

func bookGift(_ context.Context, tx *gorm.DB, g Gift, _ holdfast.Message) error {
	return tx.Create(&GiftBooked{GiftID: g.ID}).Error
}
