// Package worker joins Holdfast in one process: it sends transactional
// messages, runs and checks back local transactions, keeps the half queue, and
// consumes. It is the package that applications import.
//
//	w, err := worker.Open(ctx, "orders") // from AMQP_URL, DATABASE_URL and TEMPORAL_ADDRESS
//	w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"}, Handle: charge})
//	go w.Run(ctx)
//	defer w.Close()
//	receipt, err := w.Send(ctx, msg, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
//		return tx.Create(&order).Error
//	})
//
// [New] makes a worker with a Temporal client and a database of the caller's.
//
// Sagas are defined with package saga:
//
//	w.Saga(OrderPayment)
//	w.Participate(worker.Participant{Topic: "stock.reserve", UndoTopic: "stock.release", Do: reserve, Undo: release})
//	handle, err := worker.StartSaga(ctx, w, OrderPayment, order)
//	order, err = handle.Wait(ctx)
//
// A local transaction has one of three forms: inline ([Worker.Send]), registered
// ([Worker.Local] and [Worker.Start]) and split ([Worker.Begin]).
//
// How a transaction is coordinated is its lane: Traced by a workflow, which under
// load it shares with its neighbours (a cohort), or Express, without one.
//
//	names.go      names for what is configured and defined elsewhere
//	open.go       Open: a worker from the environment
//	options.go    what can be set; tuning.go: limits of time, numbers and sizes
//	worker.go     New, Run and what runs in between
//	send.go       Send, SendAll, Start: the caller's side
//	begin.go      Begin: the split form; gate.go: lets callers in; how it is sent: internal/lanes
//	register.go   Local, Check and Activity: what is registered before Run
//	consume.go    consumers and their inbox rows
//	compensate.go Compensate, and a consumer's Undo
//	saga.go       Saga: the sagas of a producer group
//	sagastart.go  StartSaga and its handle; sagasteer.go: who steers a saga, and how
//	participate.go Participate: steps of sagas
//	attach.go     what this process does for Temporal, and since when
//	temporal.go   Temporal workers and search attributes
package worker
