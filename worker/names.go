package worker

import (
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// BreakerOptions say when a consumer's or a participant's circuit breaker pauses it. The
// zero value means the defaults. Failures is how many messages in a row have to fail (10),
// Pause and MaxPause are how long those that fail are not tried then (5 s, doubling up to
// 1 min), and Off switches it off.
type BreakerOptions = broker.BreakerOptions

// Schedule says when an undecided transaction is checked back, and when that stops and an
// operator is waited for. The zero value is the default: Delays of 10 s, 30 s, 1 m, 2 m
// and 5 m, of which the last repeats, up to MaxChecks (15) answers "unknown" or MaxAge (4 h).
type Schedule = transactions.Schedule
