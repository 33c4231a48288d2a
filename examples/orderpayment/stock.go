package main

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// Item is what there is to sell.
type Item struct {
	Name string `gorm:"primaryKey"`
	Left int64  // pieces that nobody has reserved
}

// Reservation is one piece set aside for an order. Nothing but Holdfast's rows
// keeps an order from getting two: OrderID is not unique.
type Reservation struct {
	ID       int64 `gorm:"primaryKey"`
	OrderID  string
	Item     string
	Released bool
}

// fillStock puts goods on the shelves of a new stock.
func fillStock(db *gorm.DB) error {
	return db.Clauses(clause.OnConflict{DoNothing: true}).Create([]Item{
		{"anchor", 1000}, {"chain", 1000}, {"figurehead", 0},
	}).Error
}

// stockService adds what the stock service does.
func (s *service) stockService() {
	s.w.Participate(worker.Participant{
		Topic: stockReserve, Do: worker.TypedParticipation(reserve),
		UndoTopic: stockRelease, Undo: worker.TypedParticipation(release),
		Ladder: s.Ladder,
	})
	s.w.Consume(worker.Consumer{
		Name: "stock", Topics: []string{OrderPlaced.Name},
		Handle: worker.TypedHandle(OrderPlaced, func(ctx context.Context, tx *gorm.DB, o Order, _ holdfast.Message) error {
			_, err := reserve(ctx, tx, o)
			if _, refused := holdfast.IsRefused(err); refused {
				return holdfast.Permanent(err) // there is no saga to tell
			}
			return err
		}),
		// Another consumer could not do its part, and the order was given back.
		Undo: worker.TypedCompensation(OrderPlaced,
			func(ctx context.Context, tx *gorm.DB, o Order, _ holdfast.Message, _ holdfast.Failure) error {
				_, err := release(ctx, tx, o)
				return err
			}),
	})
}

// reserve takes a piece off the shelf, or refuses.
func reserve(_ context.Context, tx *gorm.DB, o Order) (any, error) {
	took := tx.Model(&Item{}).Where(`name = ? AND "left" > 0`, o.Item).Update("left", gorm.Expr(`"left" - 1`))
	if took.Error != nil {
		return nil, took.Error
	}
	if took.RowsAffected == 0 {
		return nil, saga.Refuse(fmt.Sprintf("no %s is left", o.Item))
	}
	return nil, tx.Create(&Reservation{OrderID: o.ID, Item: o.Item}).Error
}

// release puts it back.
func release(_ context.Context, tx *gorm.DB, o Order) (any, error) {
	err := tx.Model(&Reservation{}).Where("order_id = ?", o.ID).Update("released", true).Error
	if err != nil {
		return nil, err
	}
	return nil, tx.Model(&Item{}).Where("name = ?", o.Item).Update("left", gorm.Expr(`"left" + 1`)).Error
}
