// Package saga defines sagas: a typed state, and steps that act on it, each with
// what undoes it.
//
//	var OrderPayment = saga.Saga[Order]{
//		Name: "order-payment",
//		Key:  func(o Order) string { return o.Number },
//		Steps: []saga.Step[Order]{
//			saga.Local("create-order", createOrder, cancelOrder),
//			saga.Message("reserve-stock", "stock.reserve", "stock.release"),
//			saga.Message("charge-payment", "payment.charge", "payment.refund").AsPivot(),
//			saga.Local("confirm-order", confirmOrder, nil),
//			saga.Message("ship", "shipping.create", "").Forward(),
//		},
//	}
//
// Package worker runs them. A worker that registers one compiles it, and says what
// is wrong with it.
//
//	saga.go     Saga, and the kinds of steps
//	step.go     what can be said of a step
//	function.go functions of the state, without its type
//	compile.go  a definition, checked and ready to run
//	mermaid.go  a diagram
//	core/       how a saga moves: pure
package saga
