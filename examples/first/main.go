// First is the smallest whole program with a saga: an order, its goods and its
// payment, all or none. Here everything is in one process with one database; each
// participant could as well be another service, with a database of its own.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/google/uuid"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"gorm.io/gorm"
)

type Order struct {
	ID     string `gorm:"primaryKey"`
	Amount int64
	State  string
}

var OrderPayment = saga.Saga[Order]{
	Name: "order-payment",
	Key:  func(o Order) string { return o.ID },
	Steps: []saga.Step[Order]{
		saga.Local("create-order", become("pending"), become("cancelled")), // in this service's database
		saga.Message("reserve-stock", "stock.reserve", "stock.release"),
		saga.Message("charge-payment", "payment.charge", "payment.refund").AsPivot(),
		saga.Local("confirm-order", become("confirmed"), nil), // after the pivot there is no way back
	},
}

// become is a step's Do or Undo in this service's database.
func become(state string) func(context.Context, *gorm.DB, *Order) error {
	return func(ctx context.Context, tx *gorm.DB, o *Order) error {
		o.State = state
		return tx.Save(o).Error
	}
}

// say is a participant's Do or Undo; a real one writes with tx.
func say(what string) worker.Participation {
	return worker.TypedParticipation(func(ctx context.Context, tx *gorm.DB, o Order) (any, error) {
		if what == "charged" && o.Amount > 5000 {
			return nil, saga.Refuse("the card's limit is 5000")
		}
		fmt.Println(what, o.Amount)
		return nil, nil
	})
}

func main() {
	ctx := context.Background()
	w, err := worker.Open(ctx, "orders") // from AMQP_URL, DATABASE_URL and TEMPORAL_ADDRESS
	check(err)
	check(w.DB().AutoMigrate(&Order{}))
	check(barrier.Migrate(ctx, w.DB())) // in production: holdfast migrate
	w.Saga(OrderPayment)
	w.Participate(worker.Participant{Topic: "stock.reserve", UndoTopic: "stock.release",
		Do: say("reserved"), Undo: say("released")})
	w.Participate(worker.Participant{Topic: "payment.charge", UndoTopic: "payment.refund",
		Do: say("charged"), Undo: say("refunded")})
	go w.Run(ctx) // until Close, which returns its error

	for _, amount := range []int64{4200, 9900} {
		handle, err := worker.StartSaga(ctx, w, OrderPayment, Order{ID: uuid.NewString(), Amount: amount})
		check(err)
		order, err := handle.Wait(ctx)
		fmt.Println("the order is", order.State)
		if err != nil {
			fmt.Println(err)
		}
	}
	check(w.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
