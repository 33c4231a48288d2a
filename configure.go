package holdfast

import (
	"fmt"
	"time"
)

// BreakerOptions say when a consumer's or a participant's circuit breaker pauses it. The
// zero value means the defaults.
type BreakerOptions struct {
	// Failures is how many messages have to fail, one after the other and none
	// succeeding in between, for the breaker to open. A message that fails
	// several times counts once, and one that failed while others succeeded for a
	// quarter; a failure that is no fault of the message, such as a database that is
	// away, counts each time. Default 10, at most 10,000. With a Ladder that is empty,
	// as many messages less one may become dead letters before it opens.
	//
	// While it is open, up to twice as many messages that are not known to fail are
	// tried at once, and again after each Pause, one at a time: if one succeeds, it
	// closes. After a failure that is no fault of the message that waits for the probe.
	Failures int
	// Pause is how long messages that are known to fail are not tried once it is open.
	// It doubles, up to MaxPause, each time a probe fails. Default 5 s.
	Pause time.Duration
	// MaxPause is the longest pause. Default 1 min, or Pause if that is more.
	MaxPause time.Duration
	// Off switches the breaker off: every failure counts against its message.
	Off bool
}

// WithDefaults returns o with the defaults in place of what is not set.
func (o BreakerOptions) WithDefaults() BreakerOptions {
	if o.Failures == 0 {
		o.Failures = 10
	}
	if o.Pause == 0 {
		o.Pause = 5 * time.Second
	}
	if o.MaxPause == 0 {
		o.MaxPause = max(time.Minute, o.Pause)
	}
	return o
}

// Validate checks o after WithDefaults. Its error wraps [ErrInvalid].
func (o BreakerOptions) Validate() error {
	switch {
	case o.Failures < 1 || o.Failures > 10_000:
		return fmt.Errorf("%w: Breaker.Failures is %d: want 1 to 10000", ErrInvalid, o.Failures)
	case o.Pause < time.Millisecond || o.MaxPause < o.Pause:
		return fmt.Errorf("%w: Breaker.Pause is %v and MaxPause %v: want at least 1ms, and MaxPause not below Pause",
			ErrInvalid, o.Pause, o.MaxPause)
	}
	return nil
}

// Schedule says when an undecided transaction is checked back, and when that stops and an
// operator is waited for. The zero value is the default schedule.
type Schedule struct {
	// Delays are the waits before the first check-back, the second and so on;
	// the last one repeats. Default: 10 s, 30 s, 1 m, 2 m, 5 m.
	Delays []time.Duration `json:"delays,omitempty"`
	// MaxChecks is how many check-backs may be answered "unknown". Default: 15.
	MaxChecks int `json:"max_checks,omitempty"`
	// MaxAge is how long to go on asking since the first check-back. Default: 4 h.
	MaxAge time.Duration `json:"max_age,omitempty"`
}

// WithDefaults returns s with the defaults in place of what is not set.
func (s Schedule) WithDefaults() Schedule {
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

// LongestAge returns how long s goes on asking.
func (s Schedule) LongestAge() time.Duration { return s.WithDefaults().MaxAge }
