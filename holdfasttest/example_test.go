package holdfasttest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/internal/exampletest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// A saga that is refused at its last step, and what it undoes.
func ExampleRunSaga() {
	type transfer struct{ From, To string }
	def := saga.Saga[transfer]{Name: "transfer", Steps: []saga.Step[transfer]{
		saga.Message("withdraw", "bank.withdraw", "bank.withdraw.undo"),
		saga.Message("deposit", "bank.deposit", "bank.deposit.undo"),
	}}
	move := worker.TypedParticipation(func(context.Context, *gorm.DB, transfer) (any, error) { return nil, nil })

	t := new(exampletest.T) // in a test: its *testing.T
	defer t.End()
	k := holdfasttest.New(t)
	k.Participate(worker.Participant{Topic: "bank.withdraw", UndoTopic: "bank.withdraw.undo", Do: move, Undo: move})
	k.Participate(worker.Participant{Topic: "bank.deposit", UndoTopic: "bank.deposit.undo", Do: move, Undo: move})
	k.FailDo("deposit", saga.Refuse("the account is closed"))

	res := holdfasttest.RunSaga(k, def, transfer{"alice", "bob"})
	for _, step := range res.Steps {
		fmt.Println(step)
	}
	fmt.Println(res.Status.State)
	// Output:
	// do withdraw
	// do deposit: refused
	// undo withdraw
	// compensated
}

// A saga that waits for an approval, which comes the next day.
func ExampleKit_After() {
	type trip struct{ By string }
	def := saga.Saga[trip]{Name: "trip", Steps: []saga.Step[trip]{
		saga.Wait("approve", 48*time.Hour).Receive(saga.Into(func(s *trip, by string) error {
			s.By = by
			return nil
		})),
	}}
	t := new(exampletest.T)
	defer t.End()
	k := holdfasttest.New(t)
	k.After(24*time.Hour, func() { k.Answer("approve", "Ada") })
	res := holdfasttest.RunSaga(k, def, trip{})
	fmt.Println(res.Err, res.State.By)
	// Output: <nil> Ada
}

// A producer that dies after its COMMIT: a check-back finds out, and the message is
// delivered.
func ExampleKit_Send() {
	type order struct{ Number string }
	t := new(exampletest.T)
	defer t.End()
	k := holdfasttest.New(t)
	if err := k.DB().AutoMigrate(&order{}); err != nil {
		panic(err)
	}
	k.Listen("order.placed")
	k.BreakAt(holdfasttest.AfterCommit)

	sent := k.Send(holdfast.Message{Topic: "order.placed", Key: "A-1"}, func(_ context.Context, tx *gorm.DB, _ *holdfast.Message) error {
		return tx.Create(&order{"A-1"}).Error
	})
	fmt.Println(sent.Receipt.Resolution, sent.CheckBacks, len(k.Delivered()))
	// Output: commit 1 1
}

// A participant of another service, of which there is no code here: its answer is
// lost, and it is asked again.
func ExampleKit_Script() {
	type parcel struct{ Label string }
	def := saga.Saga[parcel]{Name: "parcel", Steps: []saga.Step[parcel]{
		saga.Message("label", "label.print", "label.void").Receive(saga.Into(func(p *parcel, label string) error {
			p.Label = label
			return nil
		})),
		saga.Message("pick-up", "van.send", "van.recall"),
	}}
	t := new(exampletest.T)
	defer t.End()
	k := holdfasttest.New(t)
	labels := k.Script("label.print", "label.void").Answers(holdfasttest.Unknown("L-1"), holdfasttest.Done(nil))
	k.Script("van.send", "van.recall").Answers(holdfasttest.Refused("no van today"))

	res := holdfasttest.RunSaga(k, def, parcel{})

	fmt.Println(res.Status.State, res.State.Label)
	for _, asked := range labels.Asked() {
		fmt.Println(asked.Message.Topic)
	}
	// Output:
	// compensated L-1
	// label.print
	// label.print
	// label.void
}

// stock is what another package registers with its own worker.
func stock(r worker.Registry) {
	type order struct{ Goods string }
	r.Participate(worker.Participant{Topic: "stock.reserve", UndoTopic: "stock.release",
		Do: worker.TypedParticipation(func(_ context.Context, _ *gorm.DB, o order) (any, error) {
			fmt.Println("reserved", o.Goods)
			return nil, nil
		}),
		Undo: worker.TypedParticipation(func(_ context.Context, _ *gorm.DB, o order) (any, error) {
			fmt.Println("released", o.Goods)
			return nil, nil
		})})
}

// The participants of another package, with a database of their own.
func ExampleKit_Service() {
	type order struct{ Goods string }
	def := saga.Saga[order]{Name: "order", Steps: []saga.Step[order]{
		saga.Message("reserve-stock", "stock.reserve", "stock.release"),
		saga.Message("charge-payment", "payment.charge", "payment.refund"),
	}}
	t := new(exampletest.T)
	defer t.End()
	k := holdfasttest.New(t)
	stock(k.Service(nil))
	k.Script("payment.charge", "payment.refund").Answers(holdfasttest.Refused("card declined"))

	fmt.Println(holdfasttest.RunSaga(k, def, order{"a chair"}).Status.State)
	// Output:
	// reserved a chair
	// released a chair
	// compensated
}

// A consumer that gives a message up for good: the producer undoes what it did.
func ExampleKit_Compensation() {
	t := new(exampletest.T)
	defer t.End()
	k := holdfasttest.New(t)
	k.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"},
		DeadLetters: holdfast.Policy{Action: holdfast.PolicyCompensatePermanent},
		Handle: func(context.Context, *gorm.DB, holdfast.Message) error {
			return holdfast.Permanent(errors.New("card declined"))
		}})
	k.Compensation("order.placed", func(_ context.Context, _ *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
		fmt.Println("refunding", m.Key, "because of", f.Reason)
		return nil
	})

	k.Send(holdfast.Message{Topic: "order.placed", Key: "A-1"}, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })

	fmt.Println(k.DeadLetter("payments").State)
	// Output:
	// refunding A-1 because of card declined
	// compensated
}
