package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/internal/exampletest"
	"github.com/holdfastmq/holdfast/worker"
)

type Order struct {
	ID     string
	Amount int64
}

var OrderPlaced = holdfast.Topic[Order]{Name: "order.placed"}

// The inline form: a closure, run in the process that calls Send. Here a kit of
// holdfasttest stands for the worker, so that no server is needed; in a program it is
// receipt, err := w.Send(ctx, m, local).
func ExampleWorker_Send() {
	t := new(exampletest.T)
	defer t.End()
	w := holdfasttest.New(t)
	if err := w.DB().AutoMigrate(&Order{}); err != nil {
		log.Fatal(err)
	}
	w.Listen("order.placed") // so that a consumer is there

	order := Order{ID: "A-1007", Amount: 4200}
	m, err := OrderPlaced.Message(order.ID, order)
	if err != nil {
		log.Fatal(err)
	}
	sent := w.Send(m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		return tx.Create(&order).Error
	})
	switch receipt, err := sent.Receipt, sent.Err; {
	case errors.Is(err, holdfast.ErrUndecided), errors.Is(err, holdfast.ErrDeliveryPending):
		log.Printf("transaction %s ends as the database says", receipt.TxID)
	case err != nil:
		log.Fatal(err) // nothing was committed
	default:
		fmt.Println(receipt.Resolution, receipt.Messages[0].Topic, receipt.Messages[0].Key)
	}
	// Output: commit order.placed A-1007
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

func charge(tx *gorm.DB, o Order) error { return errRefused }

type Reservation struct{ OrderID string }

// A consumer that keeps failing: its delays, and what becomes of its dead
// letters. The producer group undoes the order, once, and a consumer that has
// done its part undoes that. Here a kit of holdfasttest stands for the two
// workers.
func ExampleWorker_Compensate() {
	t := new(exampletest.T)
	defer t.End()
	kit := holdfasttest.New(t)
	orders, payments := kit.Service(kit.DB()), kit.Service(nil)
	if err := errors.Join(orders.DB().AutoMigrate(&Order{}), payments.DB().AutoMigrate(&Reservation{})); err != nil {
		log.Fatal(err)
	}

	orders.Compensate("order.placed", worker.TypedCompensation(OrderPlaced,
		func(ctx context.Context, tx *gorm.DB, o Order, m holdfast.Message, f holdfast.Failure) error {
			fmt.Println("the order is refunded:", f.Reason)
			return tx.Delete(&o).Error
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
			return tx.Create(&Reservation{o.ID}).Error
		}),
		Undo: worker.TypedCompensation(OrderPlaced, func(ctx context.Context, tx *gorm.DB, o Order, m holdfast.Message, f holdfast.Failure) error {
			fmt.Println("what was reserved is free again")
			return tx.Where("order_id = ?", o.ID).Delete(&Reservation{}).Error
		}),
	})

	m, err := OrderPlaced.Message("A-1007", Order{ID: "A-1007", Amount: 4200})
	if err != nil {
		log.Fatal(err)
	}
	kit.Send(m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		return tx.Create(&Order{ID: "A-1007", Amount: 4200}).Error
	})
	fmt.Println(kit.DeadLetter("payments").State)
	// Output:
	// the order is refunded: the card is refused
	// what was reserved is free again
	// compensated
}

// One trace from the caller to the consumers: give the worker the program's tracer provider.
// What a handler sends goes on in the trace, since its context has the span.
func ExampleOptions_tracing() {
	spans := tracetest.NewInMemoryExporter() // in a program, an exporter of OTLP
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
	w, err := worker.New(worker.Options{Group: "shipping", AMQPURL: "amqp://127.0.0.1", Lane: holdfast.Express,
		TracerProvider: provider})
	if err != nil {
		log.Fatal(err)
	}
	w.Consume(worker.Consumer{Name: "shipping", Topics: []string{"order.placed"},
		HandleAtLeastOnce: func(ctx context.Context, m holdfast.Message) error {
			ctx, span := provider.Tracer("shipping").Start(ctx, "pack") // in the trace of who sent m
			defer span.End()
			return pack(ctx, m)
		}})
}

func pack(context.Context, holdfast.Message) error { return nil }

// Middleware around handlers: the first is the outermost. Here a kit of holdfasttest
// stands for the worker; a program sets worker.Options.Middleware, or calls Worker.Use.
func ExampleMiddleware() {
	t := new(exampletest.T)
	defer t.End()
	type tenant struct{}
	logged := func(next worker.Handle) worker.Handle {
		return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
			err := next(ctx, tx, m)
			d, _ := holdfast.DeliveryFrom(ctx)
			fmt.Printf("%s, attempt %d: %v\n", d.Consumer, d.Attempt, err)
			return err
		}
	}
	tenants := func(next worker.Handle) worker.Handle {
		return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
			name := m.Headers["tenant"]
			if name == "" {
				return holdfast.Permanent(errors.New("no tenant")) // a dead letter at once
			}
			return next(context.WithValue(ctx, tenant{}, name), tx, m)
		}
	}
	stamped := func(next worker.Sending) worker.Sending {
		return func(ctx context.Context, o *worker.Outgoing) (holdfast.Receipt, error) {
			for i := range o.Messages {
				o.Messages[i].AppID = "shop"
			}
			return next(ctx, o)
		}
	}
	w := holdfasttest.NewWith(t, holdfasttest.Options{Middleware: []worker.Middleware{logged, tenants},
		SendMiddleware: []worker.SendMiddleware{stamped}})
	w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"},
		Handle: func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
			fmt.Println("from", m.AppID, "for", ctx.Value(tenant{}))
			return nil
		}})
	local := func(context.Context, *gorm.DB, *holdfast.Message) error { return nil }
	w.Send(holdfast.Message{Topic: "order.placed", Headers: map[string]string{"tenant": "north"}}, local)
	w.Send(holdfast.Message{Topic: "order.placed"}, local)
	// Output:
	// from shop for north
	// payments, attempt 1: <nil>
	// payments, attempt 1: no tenant
}
