// Package deadletters holds the workflow DeadLetter, which stays with a message that its
// consumer gave up until that is handled, compensated or discarded.
//
// Its root coroutine does what is wanted, one thing at a time; the message's policy,
// operators and the consumer's queue say what. What a death or an answer leads to is
// decided by pure functions, in policy.go.
//
// It imports what all workflows share, and neither of its neighbours; it makes no promise
// of compatibility.
package deadletters
