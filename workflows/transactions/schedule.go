package transactions

import (
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// Schedule says when an undecided transaction is checked back.
type Schedule = holdfast.Schedule

// Checks counts the check-backs of one transaction.
type Checks struct {
	// Answered are those that somebody answered, and answered "unknown".
	Answered int
	// Unreached are those that nobody answered. They do not count towards
	// MaxChecks: a group that is down for an hour must not park its transactions.
	Unreached int
	// Age is the time since the first check-back.
	Age time.Duration
}

// asked counts all check-backs.
func (c Checks) asked() int { return c.Answered + c.Unreached }

// next says how long to wait by s before the next check-back, or why to park
// instead.
func (c Checks) next(s Schedule) (wait time.Duration, park string) {
	asked := c.asked()
	switch {
	case c.Answered >= s.MaxChecks:
		return 0, fmt.Sprintf("undecided after %d check-backs", c.Answered)
	case asked > 0 && c.Age >= s.MaxAge:
		return 0, fmt.Sprintf("undecided after %v (%d check-backs answered, %d not)", c.Age.Round(time.Second),
			c.Answered, c.Unreached)
	}
	return s.Delays[min(asked, len(s.Delays)-1)], ""
}

// unroutedDelays are the waits before a message that no queue is bound for is
// published again; after the last one its transaction parks, and is tried after
// parkedDelays, of which the last one repeats.
var unroutedDelays = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second}

// nextUnrouted says how long to wait before the nth repetition (from 0), or
// that there is none.
func nextUnrouted(n int) (wait time.Duration, ok bool) {
	if n >= len(unroutedDelays) {
		return 0, false
	}
	return unroutedDelays[n], true
}

var parkedDelays = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute}

// parkedUnrouted says how long to wait before the nth try (from 0) of what is parked
// because no queue is bound for it.
func parkedUnrouted(n int) time.Duration { return parkedDelays[min(max(n, 0), len(parkedDelays)-1)] }

// StartingAfter returns s with wait as the first delay.
func StartingAfter(s Schedule, wait time.Duration) Schedule {
	s = s.WithDefaults()
	s.Delays = append([]time.Duration{wait}, s.Delays...)
	return s
}
