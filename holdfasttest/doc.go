// Package holdfasttest runs sagas and transactions in milliseconds, without any
// server, and has them go wrong where a test wants.
//
//	func TestACardIsDeclined(t *testing.T) {
//		k := holdfasttest.New(t)
//		k.DB().AutoMigrate(&Order{})
//		k.Participate(worker.Participant{Topic: "stock.reserve", UndoTopic: "stock.release", Do: reserve, Undo: release})
//		k.Participate(worker.Participant{Topic: "payment.charge", UndoTopic: "payment.refund", Do: charge, Undo: refund})
//		k.FailDo("charge-payment", saga.Refuse("card declined"))
//
//		res := holdfasttest.RunSaga(k, OrderPayment, Order{Number: "A-1"})
//
//		require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
//		require.Equal(t, []string{"do create-order", "do reserve-stock", "do charge-payment: refused",
//			"undo reserve-stock", "undo create-order"}, res.Steps)
//	}
//
// What runs is what runs in production: how a transaction is sent, in both lanes, the
// workflows Saga and Transaction, in Temporal's test environment, their steps, the
// outcome, inbox and step rows. Not
// real are RabbitMQ, whose place the memory takes, the database, unless you give
// the kit a PostgreSQL, and time: pauses, retries and timeouts cost none.
//
// What can go wrong, and how to have it go wrong:
//
//	a step fails, refuses, panics                FailDo, FailUndo
//	it takes effect, and its process dies        LoseDo, LoseUndo
//	a reply is lost, late, or comes twice        LoseReply, DelayReply, RepeatReply
//	nobody answers an approval                   (do not Answer)
//	an operator pauses, skips, compensates …     OnDo, OnUndo, OnState, After
//	a participant of another service answers …   Script: Done, Refused, Failed, Unknown, Silent
//	a producer dies in the middle                BreakAt
//	a message is delivered twice                 Deliver, twice
//	a consumer gives a message up                Consume; DeadLetter says what its policy did
//	what the producer undoes then                Compensation
//
// A test of a kit is the same each time: steps of a parallel group, too, run one
// after the other, in the order of their definition.
//
// It does not play what is between processes: connections, locks, a worker that
// is killed, breakers. For these there is `holdfast dev`.
//
//	kit.go         Kit: what takes part
//	saga.go        RunSaga, UndoSaga
//	send.go        Send, BreakAt; transaction.go the process that sends
//	service.go     another package's registrations, with a database of their own
//	script.go      participants of which there is no code here
//	consume.go     consumers; deadletter.go what becomes of what they give up
//	fault.go       what goes wrong at a saga's step
//	operator.go    who steers a saga, and when
//	db.go          the database in memory; connection.go its one connection
//	run.go         a workflow in Temporal's test environment; serial.go its order
//	trace.go       what was run; replies.go messages to participants and back
package holdfasttest
