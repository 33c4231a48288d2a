package barrier_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/internal/exampletest"
)

type Order struct {
	ID    int64
	Total int
}

// A local transaction that completes its message with a generated number.
func ExampleRun() {
	t := new(exampletest.T)
	defer t.End()
	ctx, db := t.Context(), holdfasttest.NewDB(t) // in a program: your PostgreSQL, after barrier.Migrate
	if err := db.AutoMigrate(&Order{}); err != nil {
		log.Fatal(err)
	}

	placed := holdfast.Topic[Order]{Name: "order.placed"}
	half := barrier.Local{TxID: "tx-1", Group: "orders", Messages: []holdfast.Message{{ID: "tx-1", Topic: placed.Name}}}
	r := barrier.Run(ctx, db, half, func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		o := Order{Total: 100}
		if err := tx.Create(&o).Error; err != nil {
			return err // rolled back, nothing is delivered
		}
		return placed.Encode(ms[0], o)
	})
	switch r.Resolution {
	case holdfast.Commit:
		fmt.Println("deliver", string(r.Messages[0].Body))
	case holdfast.Rollback:
		fmt.Println("forget the half message:", r.Err)
	case holdfast.Unknown:
		fmt.Println("a check-back will find out:", r.Err)
	}
	// Output: deliver {"ID":1,"Total":100}
}

type Invoice struct{ OrderID string }

// A handler whose effect happens once, however often the message is delivered.
func ExampleConsume() {
	t := new(exampletest.T)
	defer t.End()
	ctx, db := t.Context(), holdfasttest.NewDB(t)
	if err := db.AutoMigrate(&Invoice{}); err != nil {
		log.Fatal(err)
	}

	m := holdfast.Message{ID: "m-1", Topic: "order.placed", Key: "A-1007"}
	for range 2 { // RabbitMQ may deliver twice
		repeated, err := barrier.Consume(ctx, db, "billing", m.ID, func(ctx context.Context, tx *gorm.DB) error {
			return tx.Create(&Invoice{m.Key}).Error
		})
		fmt.Println("done before:", repeated, err)
	}
	var invoices int64
	db.Model(&Invoice{}).Count(&invoices)
	fmt.Println("invoices:", invoices)
	// Output:
	// done before: false <nil>
	// done before: true <nil>
	// invoices: 1
}

type Stock struct{ Free int }

// A saga's step in a participant, and its Undo. The Do's answer comes back to its
// Undo.
func ExampleDoStep() {
	t := new(exampletest.T)
	defer t.End()
	ctx, db := t.Context(), holdfasttest.NewDB(t)
	if err := db.AutoMigrate(&Stock{}); err != nil {
		log.Fatal(err)
	}
	db.Create(&Stock{Free: 5})

	reserve := func(sagaID string, count int) {
		r, err := barrier.DoStep(ctx, db, sagaID, "reserve-stock", false, func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
			stock := tx.Exec("UPDATE stocks SET free = free - ? WHERE free >= ?", count, count)
			if stock.Error != nil {
				return nil, stock.Error
			}
			if stock.RowsAffected == 0 {
				return nil, &holdfast.RefusedError{Reason: "sold out"}
			}
			return json.Marshal(count)
		})
		switch {
		case err != nil:
			fmt.Println("try again:", err)
		case r.Outcome == barrier.StepDone:
			fmt.Printf("reserved %s\n", r.Result)
		default:
			fmt.Printf("%s: %s\n", r.Outcome, r.Reason)
		}
	}
	release := func(sagaID string) {
		_, err := barrier.UndoStep(ctx, db, sagaID, "reserve-stock", "the order was cancelled", func(ctx context.Context, tx *gorm.DB, count []byte) error {
			fmt.Printf("released %s\n", count)
			return tx.Exec("UPDATE stocks SET free = free + ?", string(count)).Error
		})
		if err != nil {
			fmt.Println("try again:", err)
		}
	}
	reserve("saga-1", 3)
	reserve("saga-1", 3) // asked again: the first answer
	reserve("saga-2", 3)
	release("saga-1")
	release("saga-1") // nothing more
	// Output:
	// reserved 3
	// reserved 3
	// refused: sold out
	// released 3
}
