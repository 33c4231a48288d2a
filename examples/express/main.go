// Express is the smallest whole program that needs no Temporal, only RabbitMQ and
// PostgreSQL. An order and its message, both or neither, and a consumer that charges
// once. Where TEMPORAL_ADDRESS is set, the process also ends what died in others.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/google/uuid"
	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/worker"
	"gorm.io/gorm"
)

type Order struct {
	ID     string `gorm:"primaryKey"`
	Amount int64
}

var OrderPlaced = holdfast.Topic[Order]{Name: "order.placed"}

func main() {
	ctx := context.Background()
	w, err := worker.Open(ctx, "shop", func(o *worker.Options) { o.Lane = holdfast.Express })
	check(err)
	check(w.DB().AutoMigrate(&Order{}))
	check(barrier.Migrate(ctx, w.DB())) // in production: holdfast migrate
	charged := make(chan string)
	w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"},
		Handle: worker.TypedHandle(OrderPlaced, func(ctx context.Context, tx *gorm.DB, o Order, m holdfast.Message) error {
			charged <- fmt.Sprintf("charged %d for %s", o.Amount, o.ID) // a real one writes with tx
			return nil
		})})
	go w.Run(ctx) // until Close, which returns its error

	order := Order{ID: uuid.NewString(), Amount: 4200}
	receipt, err := worker.SendValue(ctx, w, OrderPlaced, order.ID, order,
		func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			return tx.Create(&order).Error // the message is delivered if and only if this commits
		})
	check(err)
	fmt.Println(receipt.Resolution)
	fmt.Println(<-charged)
	check(w.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
