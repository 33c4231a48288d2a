// Package sagarun runs the steps of sagas: what package worker does with RabbitMQ,
// and package holdfasttest without, over the same ports.
//
//	definitions.go the sagas that a process has
//	runner.go      the saga's side: local steps, conditions, choices, inputs
//	call.go        the saga's side: messages to participants
//	waiters.go     who waits in this process for a participant's reply
//	participant.go the participant's side
//	outcome.go     errors and what they mean for a saga
package sagarun
