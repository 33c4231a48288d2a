package worker

import holdfast "github.com/holdfastmq/holdfast"

// BreakerOptions say when a consumer's or a participant's circuit breaker pauses it: see
// [holdfast.BreakerOptions]. The zero value means the defaults.
type BreakerOptions = holdfast.BreakerOptions

// Schedule says when an undecided transaction is checked back, and when that stops and an
// operator is waited for: see [holdfast.Schedule]. The zero value is the default.
type Schedule = holdfast.Schedule
