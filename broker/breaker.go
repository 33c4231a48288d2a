package broker

import (
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast"
)

// BreakerOptions say when a consumer's circuit breaker pauses it. The zero value
// means the defaults.
type BreakerOptions struct {
	// Failures is how many messages have to fail, one after the other and none
	// succeeding in between, for the breaker to open. A message that fails
	// several times counts once; an error marked with [Wait] counts each time.
	// Default 10, at most 10,000. With a Ladder that is empty, as many messages
	// less one may become dead letters before it opens.
	Failures int
	// Pause is how long nothing is tried once it is open; it doubles, up to
	// MaxPause, each time a probe fails. Default 5 s.
	Pause time.Duration
	// MaxPause is the longest pause. Default 1 min, or Pause if that is more.
	MaxPause time.Duration
	// Off switches the breaker off: every failure counts against its message.
	Off bool
}

func (o BreakerOptions) withDefaults() BreakerOptions {
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

func (o BreakerOptions) validate() error {
	switch {
	case o.Failures < 1 || o.Failures > 10_000:
		return fmt.Errorf("%w: Breaker.Failures is %d: want 1 to 10000", holdfast.ErrInvalid, o.Failures)
	case o.Pause < time.Millisecond || o.MaxPause < o.Pause:
		return fmt.Errorf("%w: Breaker.Pause is %v and MaxPause %v: want at least 1ms, and MaxPause not below Pause", holdfast.ErrInvalid, o.Pause, o.MaxPause)
	}
	return nil
}

// breaker is a consumer's circuit breaker as a state machine without clock, lock
// or I/O. Each change of its state begins a new era; how a delivery of an older
// one ends says nothing about the present.
type breaker struct {
	o     BreakerOptions
	state string
	since time.Time
	until time.Time // open: when to probe
	pause time.Duration
	era   uint64
	busy  bool // probing: a probe is under way

	failed map[string]struct{} // messages since the last success
	waits  int                 // errors marked with Wait since then
	err    error               // of the last failure
}

func newBreaker(o BreakerOptions) breaker {
	return breaker{o: o, state: BreakerClosed, failed: map[string]struct{}{}}
}

// enter asks whether a delivery may be tried now; it belongs to the era.
func (b *breaker) enter() (era uint64, ok bool) {
	if b.state == BreakerOpen || b.busy {
		return b.era, false
	}
	b.busy = b.state == BreakerProbing
	return b.era, true
}

// leave takes back what enter began, for a delivery that is not tried after all.
func (b *breaker) leave(era uint64) {
	if era == b.era {
		b.busy = false
	}
}

// renew forgets a probe that was lost with its channel.
func (b *breaker) renew() {
	if b.state == BreakerProbing {
		b.era++
		b.busy = false
	}
}

// counts reports whether a failure would count against its message.
func (b *breaker) counts(era uint64) bool { return b.state == BreakerClosed && era == b.era }

// success notes that a handler judged a message.
func (b *breaker) success(era uint64, now time.Time) (changed bool) {
	if era != b.era {
		return false
	}
	if len(b.failed)+b.waits > 0 {
		clear(b.failed)
		b.waits = 0
	}
	if b.state == BreakerProbing {
		b.to(BreakerClosed, now)
		return true
	}
	return false
}

// failure notes that a delivery of message id failed, or that it waits.
func (b *breaker) failure(era uint64, id string, waits bool, err error, now time.Time) (changed bool) {
	if era != b.era || b.o.Off {
		return false
	}
	switch b.state {
	case BreakerClosed:
		if waits {
			b.waits++
		} else {
			b.failed[id] = struct{}{}
		}
		if len(b.failed)+b.waits < b.o.Failures {
			return false
		}
		b.pause = b.o.Pause
	case BreakerProbing:
		b.pause = min(2*b.pause, b.o.MaxPause)
	default:
		return false
	}
	b.err = err
	b.until = now.Add(b.pause)
	b.to(BreakerOpen, now)
	return true
}

// tick begins to probe when the pause is over.
func (b *breaker) tick(now time.Time) (changed bool) {
	if b.state != BreakerOpen || now.Before(b.until) {
		return false
	}
	b.to(BreakerProbing, now)
	return true
}

func (b *breaker) to(state string, now time.Time) {
	b.state, b.since = state, now
	b.era++
	b.busy = false
	clear(b.failed)
	b.waits = 0
}
