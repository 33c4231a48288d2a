package worker_test

import (
	"context"
	"errors"
	"log"
	"time"

	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

type Order struct {
	ID     string
	Amount int64
}

var OrderPlaced = holdfast.Topic[Order]{Name: "order.placed"}

// The inline form: a closure, run in the process that calls Send.
func ExampleWorker_Send() {
	var w *worker.Worker // from worker.New, running
	var ctx context.Context

	order := Order{ID: "A-1007", Amount: 4200}
	m, err := OrderPlaced.Message(order.ID, order)
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := w.Send(ctx, m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		return tx.Create(&order).Error
	})
	switch {
	case errors.Is(err, holdfast.ErrUndecided), errors.Is(err, holdfast.ErrDeliveryPending):
		log.Printf("transaction %s ends as the database says", receipt.TxID)
	case err != nil:
		log.Fatal(err) // nothing was committed
	}
}

// The registered form: a handler that anyone may start, also from the CLI.
func ExampleWorker_Start() {
	var w *worker.Worker
	var ctx context.Context

	w.Local("place-order", func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		order, err := OrderPlaced.Decode(*m)
		if err != nil {
			return err
		}
		return tx.Create(&order).Error
	})
	go func() { log.Print(w.Run(ctx)) }()

	m, err := OrderPlaced.Message("A-1007", Order{ID: "A-1007", Amount: 4200})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := w.Start(ctx, "place-order", m); err != nil {
		log.Fatal(err)
	}
}

// The split form: a transaction that the application begins and commits.
func ExampleWorker_Begin() {
	var w *worker.Worker
	var ctx context.Context
	var db *gorm.DB

	split, err := w.Begin(ctx, 0, holdfast.Message{Topic: "order.placed", Key: "A-1007"})
	if err != nil {
		log.Fatal(err)
	}
	err = db.Transaction(func(tx *gorm.DB) error {
		if _, err := split.Barrier(ctx, tx); err != nil { // the first statement
			return err
		}
		return tx.Create(&Order{ID: "A-1007"}).Error
	})
	if err == nil {
		_, err = split.Commit(ctx)
	} else {
		_, err = split.Rollback(ctx)
	}
	if err != nil {
		log.Print(err)
	}
}

// A Checker answers for local transactions that are not in a gorm database.
func ExampleWorker_Check() {
	var c client.Client
	w, err := worker.New(worker.Options{Group: "gifts", Temporal: c})
	if err != nil {
		log.Fatal(err)
	}
	w.Check("gift.granted", holdfast.CheckerFunc(func(ctx context.Context, m holdfast.Message) (holdfast.Resolution, error) {
		return holdfast.Unknown, errors.New("ask the partner's system here")
	}))
}

// errRefused is what the bank answers for a card that it will never accept.
var errRefused = errors.New("the card is refused")

func charge(tx *gorm.DB, o Order) error {
	return tx.Exec("INSERT INTO charges VALUES (?, ?)", o.ID, o.Amount).Error
}
func reserve(tx *gorm.DB, o Order) error {
	return tx.Exec("INSERT INTO reserved VALUES (?)", o.ID).Error
}

// A consumer that keeps failing: its delays, and what becomes of its dead
// letters. The producer group undoes the order, once, and a consumer that has
// done its part undoes that.
func ExampleWorker_Compensate() {
	var orders, payments *worker.Worker // from worker.New: two processes

	orders.Compensate("order.placed", worker.TypedCompensation(OrderPlaced,
		func(ctx context.Context, tx *gorm.DB, o Order, m holdfast.Message, f holdfast.Failure) error {
			return tx.Exec("UPDATE orders SET state = 'refunded', why = ? WHERE id = ?", f.Reason, o.ID).Error
		}))

	payments.Consume(worker.Consumer{
		Name: "payments", Topics: []string{"order.placed"},
		Handle: worker.TypedHandle(OrderPlaced, func(ctx context.Context, tx *gorm.DB, o Order, m holdfast.Message) error {
			err := charge(tx, o)
			if errors.Is(err, errRefused) {
				return holdfast.Permanent(err) // no repetition helps: a dead letter at once
			}
			return err // tried again, three times at once and then after each delay
		}),
		Ladder: []time.Duration{10 * time.Second, time.Minute, 15 * time.Minute},
		// What is refused is compensated by itself; anything else waits for an
		// operator, and holdfast dead.
		DeadLetters: holdfast.Policy{Action: holdfast.PolicyCompensatePermanent},
	})
	payments.Consume(worker.Consumer{
		Name: "stock", Topics: []string{"order.placed"},
		Handle: worker.TypedHandle(OrderPlaced, func(ctx context.Context, tx *gorm.DB, o Order, m holdfast.Message) error {
			return reserve(tx, o)
		}),
		Undo: worker.TypedCompensation(OrderPlaced, func(ctx context.Context, tx *gorm.DB, o Order, m holdfast.Message, f holdfast.Failure) error {
			return tx.Exec("DELETE FROM reserved WHERE order_id = ?", o.ID).Error
		}),
	})
}
