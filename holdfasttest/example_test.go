package holdfasttest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
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

	t := new(exampleT) // in a test: its *testing.T
	defer t.end()
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
	t := new(exampleT)
	defer t.end()
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
	t := new(exampleT)
	defer t.end()
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

// exampleT stands for the *testing.T of a test: examples have none.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (*exampleT) Helper()                           {}
func (t *exampleT) Cleanup(f func())                { t.cleanups = append(t.cleanups, f) }
func (*exampleT) Context() context.Context          { return context.Background() }
func (*exampleT) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (*exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// end is the test's end.
func (t *exampleT) end() {
	for _, f := range t.cleanups {
		f()
	}
}
