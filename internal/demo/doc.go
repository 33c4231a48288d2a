// Package demo runs the order-payment example through everything that can go
// wrong with a transactional message and with a saga, against the real parts and
// with processes that are really killed, and compares what the databases say
// afterwards with what was expected.
//
//	demo.go       the run: stack, stage, scenarios, table
//	stage.go      the databases, services and clients that scenarios act on
//	service.go    the example's processes
//	scenarios.go  the scenarios of transactional messages
//	failures.go   those of consumers that fail
//	fullqueue.go  that of a full queue
//	sagas.go      those of sagas
//	waiting.go    that of a participant that nobody runs
//	ledger.go     what the four databases hold about an order
package demo
