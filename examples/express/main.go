// Express is the smallest whole program without Temporal: RabbitMQ and PostgreSQL
// only. An order and its message, both or neither, and a consumer that charges once.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/google/uuid"
	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

type Order struct {
	ID     string `gorm:"primaryKey"`
	Amount int64
}

var OrderPlaced = holdfast.Topic[Order]{Name: "order.placed"}

func main() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	db, err := gorm.Open(postgres.Open(os.Getenv("DATABASE_URL")))
	check(err)
	check(db.AutoMigrate(&Order{}))
	check(barrier.Migrate(ctx, db)) // or: holdfast migrate

	w, err := worker.New(worker.Options{Group: "shop", Lane: holdfast.Express, AMQPURL: os.Getenv("AMQP_URL"), DB: db})
	check(err)
	charged := make(chan string)
	w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"},
		Handle: worker.Typed(OrderPlaced, func(ctx context.Context, tx *gorm.DB, o Order, m holdfast.Message) error {
			charged <- fmt.Sprintf("charged %d for %s", o.Amount, o.ID) // a real one writes with tx
			return nil
		})})
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()

	order := Order{ID: uuid.NewString(), Amount: 4200}
	receipt, err := worker.SendValue(ctx, w, OrderPlaced, order.ID, order,
		func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			return tx.Create(&order).Error // the message is delivered if and only if this commits
		})
	check(err)
	fmt.Println(receipt.Resolution)
	fmt.Println(<-charged)

	stop()
	check(<-done)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
