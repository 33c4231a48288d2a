// Package workflows holds the Temporal workflows: Transaction, the durable
// coordinator of transactional messages; Recovery, which decides what was left
// undecided without one; DeadLetter, which stays with a message that its consumer
// gave up until that is handled, compensated or discarded; and Saga, which brings a
// saga to its end.
//
// A workflow Transaction coordinates a list of transactions, its members, and every
// decision is per member. The happy path is one workflow task with three local
// activities: HalfSend, LocalTransaction, Commit (or Rollback). A member that
// cannot be finished so goes on by itself: it is checked back on a durable
// timer, delivered until the broker confirms, or parked for an operator. Where
// several share the workflow for speed, a cohort, it leaves for that into a
// workflow of its own.
//
//	transaction.go  the flow, as a table of contents
//	member.go       what is known of one member
//	local.go        the local transaction, in its forms
//	settle.go       check-back, delivery, parking
//	cohort.go       how several share a workflow, and what finds them there
//	leave.go        how those of them that do not end at once part from the others
//	operator.go     the operator's Updates and signals
//	renew.go        going on in a new run, where a history gets too long
//	input.go        input, states and status
//	start.go        how whoever starts a transaction starts it
//	schedule.go     when to check back: a pure function
//	text.go         what the Temporal UI shows
//
// A workflow Recovery decides the half messages that a sweep of the Keeper handed
// over from the Express lane, with the same members and steps.
//
//	recovery.go     the flow, and how whoever starts it starts it
//
// A workflow DeadLetter is one message of one consumer. Its root coroutine does
// what is wanted, one thing at a time; its policy, operators and the consumer's
// queue say what.
//
//	deadletter.go           the flow
//	deadletter_policy.go    what a death, and an answer, leads to: pure functions
//	deadletter_operator.go  the operator's Updates, and why they are refused
//	deadletter_signals.go   the same as signals, and the consumer's answers
//	deadletter_steps.go     redelivery, compensation, alerts
//	deadletter_input.go     input, states and status
//	deadletter_start.go     how whoever starts it starts it
//	deadletter_text.go      what the Temporal UI shows
//
// A workflow Saga is one saga. The machine of saga/core decides; what it wants done is
// carried out here, and what happens is fed back to it. Dos are local activities of
// one workflow task as far as that goes; Undos are regular ones, so that whatever was
// done is recorded before.
//
//	saga.go           the flow
//	saga_try.go       one try of a step, and how the runner's steps are run
//	saga_steps.go     the kinds of steps, and the saga's definition
//	saga_reply.go     messages: replies, and asking again
//	saga_activity.go  any Temporal activity
//	saga_wait.go      answers from outside
//	saga_sub.go       sagas as steps of sagas
//	saga_operator.go  the operator's Updates and signals, and the request to cancel
//	saga_status.go    where it stands: query, search attribute, story, alerts
//	saga_renew.go     going on in a new run, where a history gets too long
//	saga_input.go     input and status
//	saga_start.go     how whoever starts it starts it, or undoes one that has ended
//	saga_text.go      what the Temporal UI shows
//
// This is the determinism boundary: no clock, no randomness, no goroutine, no
// broker and no database here.
package workflows
