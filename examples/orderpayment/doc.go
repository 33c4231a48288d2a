// Orderpayment is an order service and a payment service, each a process with a
// database of its own, joined by transactional messages: an order that is in the
// orders' database is paid exactly once in the payments', whatever is killed in
// between.
//
//	orderpayment order     serves POST /orders on LISTEN
//	orderpayment payment   consumes order.placed and charges
//
// Both read AMQP_URL, DATABASE_URL and Temporal's own TEMPORAL_* variables.
//
//	topics.go   what the services tell each other
//	order.go    the order service: a producer
//	payment.go  the payment service: a consumer
//	service.go  what both need to run
//	unruly.go   ways to misbehave, for the demo
//	moods.go    ways for charging to fail, for the demo
package main
