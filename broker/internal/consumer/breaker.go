package consumer

import (
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// BreakerOptions say when a consumer's circuit breaker pauses it.
type BreakerOptions = holdfast.BreakerOptions

const (
	// maxKnown is how many messages that fail are remembered, of each kind.
	maxKnown = 4096
	// maxPassed is how many of them are passed over in a round of samples.
	maxPassed = 256
	// sampleTimes Failures is how many samples have to fail for a round to end.
	sampleTimes = 2
	// badWeight is how many messages that failed while others succeeded count as one.
	badWeight = 4
)

// ids are messages, by their IDs.
type ids map[string]struct{}

func (s ids) has(id string) bool {
	_, has := s[id]
	return has
}

// add forgets another one where there are too many.
func (s ids) add(id string) {
	if len(s) >= maxKnown && !s.has(id) {
		for other := range s {
			delete(s, other)
			break
		}
	}
	s[id] = struct{}{}
}

// breaker is a consumer's circuit breaker as a state machine without clock, lock
// or I/O. Each change of its state begins a new era; how a delivery of an older
// one ends says nothing about the present.
//
// It knows which messages fail. What fails for different messages, and for all that are
// tried, is the surroundings' fault: it opens. Then messages that are not known to
// fail are tried as samples, in rounds. If one succeeds, those that failed are bad: they
// fail by themselves, and hardly count.
type breaker struct {
	o     BreakerOptions
	state string
	since time.Time
	until time.Time // open: when to probe
	pause time.Duration
	era   uint64
	busy  bool // a sample is under way

	failed ids   // messages that failed since the last success
	again  ids   // bad ones that did
	waits  int   // errors marked with Wait since then
	bad    ids   // messages that failed while others succeeded
	err    error // of the last failure

	waiting // whether messages are marked with Wait, and none is handled

	// A round of samples. While the breaker probes, it is one.
	sampling bool      // open: in a round
	next     time.Time // open: when the next one begins, if that is before until
	began    time.Time
	samples  int // all failed
	passed   ids // known to fail, and passed over
}

// waiting says since when no message was handled because of errors marked with Wait.
type waiting struct {
	began, last time.Time // of these errors; zero: there are none
	why         error
}

func (w *waiting) note(err error, now time.Time) {
	if w.began.IsZero() {
		w.began = now
	}
	w.last, w.why = now, err
}

func newBreaker(o BreakerOptions) breaker {
	return breaker{o: o, state: wire.BreakerClosed, failed: ids{}, again: ids{}, bad: ids{}, passed: ids{}}
}

// entry is what is to be done with a delivery.
type entry int

const (
	EntryTry  entry = iota // try it
	entryPass              // put it behind the others, among which may be one that is not known to fail
	entryWait              // nothing is tried now
)

// Candidate is a message that could be tried.
type Candidate struct {
	ID     string
	failed bool // by its headers it failed before
	alone  bool // there is no other
}

// enter asks what is to be done with a message now; a try belongs to the era.
func (b *breaker) enter(m Candidate, now time.Time) (era uint64, e entry) {
	switch {
	case b.state == wire.BreakerClosed:
		return b.era, EntryTry
	case b.busy || !b.fetches():
		return b.era, entryWait
	case b.knows(m) && !m.alone:
		if !b.passed.has(m.ID) && len(b.passed) < maxPassed {
			b.passed.add(m.ID)
			return b.era, entryPass
		}
		if b.state == wire.BreakerOpen { // there is nothing else: the probe will be one of them
			b.endRound(now, false)
			return b.era, entryWait
		}
	}
	b.busy = true
	return b.era, EntryTry
}

// knows reports whether the message is known to fail.
func (b *breaker) knows(m Candidate) bool { return m.failed || b.failed.has(m.ID) || b.bad.has(m.ID) }

// fetches reports whether messages are tried now.
func (b *breaker) fetches() bool { return b.state != wire.BreakerOpen || b.sampling }

// leave takes back what enter began, for a delivery that is not tried after all.
func (b *breaker) leave(era uint64) {
	if era == b.era {
		b.busy = false
	}
}

// renew forgets a sample that was lost with its channel.
func (b *breaker) renew() {
	if b.state != wire.BreakerClosed {
		b.era++
		b.busy = false
	}
}

// counts reports whether a failure would count against its message.
func (b *breaker) counts(era uint64) bool { return b.state == wire.BreakerClosed && era == b.era }

// success notes that a handler judged a message.
func (b *breaker) success(era uint64, id string, now time.Time) (changed bool) {
	if len(b.bad) > 0 {
		delete(b.bad, id)
	}
	b.waiting = waiting{}
	if era != b.era {
		return false
	}
	if len(b.failed)+len(b.again)+b.waits > 0 {
		delete(b.failed, id)
		for other := range b.failed {
			b.bad.add(other)
		}
		clear(b.failed)
		clear(b.again)
		b.waits = 0
	}
	if b.state != wire.BreakerClosed {
		b.To(wire.BreakerClosed, now)
		return true
	}
	return false
}

// failure notes that a delivery of message id failed, or that it waits.
func (b *breaker) failure(era uint64, id string, waits bool, err error, now time.Time) (changed bool) {
	if waits {
		b.waiting.note(err, now)
	}
	if b.o.Off {
		return false
	}
	switch {
	case waits || b.state == wire.BreakerClosed && era != b.era:
	case b.bad.has(id):
		b.again.add(id)
	default:
		b.failed.add(id) // also if it began before the breaker opened
	}
	if era != b.era {
		return false
	}
	if b.state != wire.BreakerClosed {
		return b.sampled(waits, err, now)
	}
	if waits {
		b.waits++
	}
	if len(b.failed)+b.waits+len(b.again)/badWeight < b.o.Failures {
		return false
	}
	b.pause = b.o.Pause
	b.open(err, now)
	b.sampling = !waits // otherwise it is known what is at fault
	return true
}

// sampled notes that a sample failed.
func (b *breaker) sampled(waits bool, err error, now time.Time) (changed bool) {
	b.busy, b.err = false, err
	b.samples++
	if !waits && b.samples < sampleTimes*b.o.Failures && now.Sub(b.began) < b.pause {
		return false
	}
	if b.state == wire.BreakerOpen {
		b.endRound(now, waits)
		return false
	}
	b.pause = min(2*b.pause, b.o.MaxPause)
	b.open(err, now)
	b.endRound(now, waits)
	return true
}

// endRound ends a round of samples while the breaker is open. There is no further one
// before the probe if the surroundings are known to be at fault.
func (b *breaker) endRound(now time.Time, waits bool) {
	b.sampling, b.next = false, now.Add(b.o.Pause)
	if waits {
		b.next = b.until
	}
}

// tick begins to probe when the pause is over, or another round of samples.
func (b *breaker) tick(now time.Time) (changed bool) {
	switch {
	case b.state != wire.BreakerOpen:
		return false
	case !now.Before(b.until):
		b.To(wire.BreakerProbing, now)
		return true
	case !b.sampling && !now.Before(b.next):
		b.sampling = true
		b.beginRound(now)
	}
	return false
}

// wake is when tick has something to do; the zero time is never.
func (b *breaker) wake() time.Time {
	switch {
	case b.state != wire.BreakerOpen:
		return time.Time{}
	case b.sampling:
		return b.until
	}
	return link.Sooner(b.until, b.next)
}

func (b *breaker) beginRound(now time.Time) {
	b.began, b.samples = now, 0
	clear(b.passed)
}

func (b *breaker) open(err error, now time.Time) {
	b.err = err
	b.until = now.Add(b.pause)
	b.next = b.until
	b.To(wire.BreakerOpen, now)
}

func (b *breaker) To(state string, now time.Time) {
	b.state, b.since = state, now
	b.era++
	b.busy, b.sampling = false, false
	b.beginRound(now)
	b.waits = 0
}
