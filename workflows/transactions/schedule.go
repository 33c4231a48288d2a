package transactions

import (
	"fmt"
	"time"
)

// Schedule says when an unknown resolution is asked for, and when to stop and
// wait for an operator. The zero value is the default schedule.
type Schedule struct {
	// Delays are the waits before the first check-back, the second and so on;
	// the last one repeats. Default: 10 s, 30 s, 1 m, 2 m, 5 m.
	Delays []time.Duration `json:"delays,omitempty"`
	// MaxChecks is how many check-backs may be answered "unknown". Default: 15.
	MaxChecks int `json:"max_checks,omitempty"`
	// MaxAge is how long to go on asking since the first check-back. Default:
	// 4 h.
	MaxAge time.Duration `json:"max_age,omitempty"`
}

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

func (s Schedule) withDefaults() Schedule {
	if len(s.Delays) == 0 {
		s.Delays = []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}
	}
	if s.MaxChecks == 0 {
		s.MaxChecks = 15
	}
	if s.MaxAge == 0 {
		s.MaxAge = 4 * time.Hour
	}
	return s
}

// Validate says what is wrong with a schedule: negative or zero delays.
func (s Schedule) Validate() error {
	for _, d := range s.Delays {
		if d <= 0 {
			return fmt.Errorf("check-back delay %v: want more than 0", d)
		}
	}
	if s.MaxChecks < 0 || s.MaxAge < 0 {
		return fmt.Errorf("check-back limits %d and %v: want 0 (the default) or more", s.MaxChecks, s.MaxAge)
	}
	return nil
}

// next says how long to wait before the next check-back, or why to park
// instead.
func (s Schedule) next(c Checks) (wait time.Duration, park string) {
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

// LongestAge returns how long s goes on asking.
func (s Schedule) LongestAge() time.Duration { return s.withDefaults().MaxAge }

// StartingAfter returns s with wait as the first delay.
func (s Schedule) StartingAfter(wait time.Duration) Schedule {
	s = s.withDefaults()
	s.Delays = append([]time.Duration{wait}, s.Delays...)
	return s
}
