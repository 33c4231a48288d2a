// First is the smallest whole program with a saga: an order, its goods and its
// payment, all or none. Here everything is in one process with one database; each
// participant could as well be another service, with a database of its own.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/google/uuid"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	temporallog "go.temporal.io/sdk/log"
	"gorm.io/driver/postgres"
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
		saga.Local("create-order", createOrder, cancelOrder), // in this service's database
		saga.Message("reserve-stock", "stock.reserve", "stock.release"),
		saga.Message("charge-payment", "payment.charge", "payment.refund").AsPivot(),
		saga.Local("confirm-order", confirmOrder, nil), // after the pivot there is no way back
	},
}

func createOrder(ctx context.Context, tx *gorm.DB, o *Order) error {
	o.State = "pending"
	return tx.Create(o).Error
}

func cancelOrder(ctx context.Context, tx *gorm.DB, o *Order) error {
	return tx.Model(o).Update("state", "cancelled").Error
}

func confirmOrder(ctx context.Context, tx *gorm.DB, o *Order) error {
	o.State = "confirmed"
	return tx.Model(o).Update("state", o.State).Error
}

// says is a participant's Do or Undo; a real one writes with tx.
func says(what string) worker.Participation {
	return worker.TypedParticipation(func(ctx context.Context, tx *gorm.DB, o Order) (any, error) {
		if what == "charged" && o.Amount > 5000 {
			return nil, saga.Refuse("the card's limit is 5000")
		}
		fmt.Println(what, o.Amount)
		return nil, nil
	})
}

func main() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	db, err := gorm.Open(postgres.Open(os.Getenv("DATABASE_URL")))
	check(err)
	check(db.AutoMigrate(&Order{}))
	check(barrier.Migrate(ctx, db)) // or: holdfast migrate
	options := envconfig.MustLoadDefaultClientOptions()
	options.Logger = temporallog.NewStructuredLogger(slog.Default())
	temporal, err := client.Dial(options)
	check(err)
	defer temporal.Close()

	w, err := worker.New(worker.Options{Group: "orders", Temporal: temporal, AMQPURL: os.Getenv("AMQP_URL"), DB: db})
	check(err)
	w.Saga(OrderPayment)
	w.Participate(worker.Participant{Topic: "stock.reserve", UndoTopic: "stock.release", Do: says("reserved"), Undo: says("released")})
	w.Participate(worker.Participant{Topic: "payment.charge", UndoTopic: "payment.refund", Do: says("charged"), Undo: says("refunded")})
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()

	for _, amount := range []int64{4200, 9900} {
		handle, err := worker.StartSaga(ctx, w, OrderPayment, Order{ID: uuid.NewString(), Amount: amount})
		check(err)
		order, err := handle.Wait(ctx)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("the order is", order.State)
	}

	stop()
	check(<-done)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
