// Package transactions holds the workflow Transaction, the durable coordinator of
// transactional messages, and the workflow Recovery, which decides what was left
// undecided without one.
//
// A workflow Transaction coordinates a list of transactions, its members, and every
// decision is per member. The happy path is one workflow task with three local
// activities: HalfSend, LocalTransaction, Commit (or Rollback). A member that cannot be
// finished so goes on by itself: it is checked back on a durable timer, delivered until
// the broker confirms, or parked for an operator. Where several share the workflow for
// speed, a cohort, it leaves for that into a workflow of its own.
//
// It imports what all workflows share, and neither of its neighbours; it makes no promise
// of compatibility.
package transactions
