package consumer

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// What a ladder may be.
const (
	maxRungs = 20
	minDelay = time.Millisecond
	maxWish  = 366 * 24 * time.Hour // of RetryAfter
	maxDelay = 24 * time.Hour
)

// A message may be lost because it kills its process, or merely because it was
// there when something else did.
const (
	// suspectAt is the number of losses in a row from which on a message is
	// tried only while its process holds no other.
	suspectAt = 2
	// minLost is the number of losses in a row that a message dies of at the
	// least, however few attempts it is allowed. It is greater than suspectAt:
	// nothing dies of losses in company alone.
	minLost = 3
)

// DefaultLadder returns the delays between a consumer's immediate tries and the
// dead letters, where it names none: 10 s, 30 s, 1 min, 5 min, 15 min, 1 h.
func DefaultLadder() []time.Duration {
	return []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute,
		time.Hour}
}

// ValidLadder says what is wrong with the delays of a ladder.
func ValidLadder(ladder []time.Duration) error {
	if len(ladder) > maxRungs {
		return fmt.Errorf("%w: Ladder has %d delays: want at most %d", holdfast.ErrInvalid, len(ladder), maxRungs)
	}
	for _, d := range ladder {
		if d < minDelay || d > maxDelay || d%time.Millisecond != 0 {
			return fmt.Errorf("%w: Ladder has a delay of %v: want whole milliseconds, %v to %s", holdfast.ErrInvalid, d,
				minDelay, wire.DelayName(maxDelay))
		}
	}
	return nil
}

// schedule decides what happens to a delivery after an attempt. It knows no
// clock and does nothing itself.
type schedule struct {
	tries  int
	ladder []time.Duration
	delays []time.Duration // of the ladder and of the default one, ascending
}

// NewSchedule is the schedule of a consumer with so many immediate tries and this ladder.
func NewSchedule(tries int, ladder []time.Duration) schedule {
	return schedule{tries: tries, ladder: ladder, delays: KnownDelays(ladder)}
}

// KnownDelays are those that there are queues for.
func KnownDelays(ladder []time.Duration) []time.Duration {
	delays := slices.Concat(ladder, DefaultLadder())
	slices.Sort(delays)
	return slices.Compact(delays)
}

// action is what is to be done with a delivery.
type action int

const (
	doAgain action = iota // try it again at once, here
	DoTail                // put it to its queue's end
	doDelay               // put it into a delay queue
	doBury                // put it with the dead letters
)

// Verdict is what a schedule decides.
type Verdict struct {
	Do    action
	delay time.Duration // of doDelay
	hops  int           // of doDelay: how often delay follows again, untried
}

// ending says how an attempt failed.
type ending struct {
	class  holdfast.ErrorClass
	wish   time.Duration // what RetryAfter asked for
	wished bool
}

// total is how many attempts a message is allowed: a redelivered one only the
// immediate ones, since somebody waits for its result.
func (s schedule) total(redelivery int) int {
	if redelivery > 0 {
		return s.tries
	}
	return s.tries + len(s.ladder)
}

// after decides about a delivery whose attempt failed so. failed counts the
// attempts that failed, this one included.
func (s schedule) after(failed, redelivery int, e ending) Verdict {
	switch {
	case e.class == holdfast.ClassPermanent || e.class == holdfast.ClassMalformed || failed >= s.total(redelivery):
		return Verdict{Do: doBury}
	case e.wished:
		return s.wish(e.wish)
	case failed < s.tries:
		return Verdict{Do: doAgain}
	}
	return Verdict{Do: doDelay, delay: s.ladder[failed-s.tries]}
}

// wish is the shortest delay that is at least d, or the longest one as often as
// it takes.
func (s schedule) wish(d time.Duration) Verdict {
	d = min(d, maxWish)
	if i, _ := slices.BinarySearch(s.delays, d); i < len(s.delays) {
		return Verdict{Do: doDelay, delay: s.delays[i]}
	}
	longest := s.delays[len(s.delays)-1]
	return Verdict{Do: doDelay, delay: longest, hops: int((d - 1) / longest)}
}

// hop decides about a delivery that is still to wait left times.
func (s schedule) hop(left int) Verdict {
	longest := s.delays[len(s.delays)-1]
	return Verdict{Do: doDelay, delay: longest, hops: min(left-1, int(maxWish/longest))}
}

// afterLoss decides about a delivery that came back without a result: lost times
// in a row, after failed attempts that did return.
func (s schedule) afterLoss(failed, lost, redelivery int) Verdict {
	used := failed + lost
	switch {
	case used >= s.total(redelivery) && lost >= minLost:
		return Verdict{Do: doBury}
	case used < s.tries || len(s.ladder) == 0 || redelivery > 0:
		return Verdict{Do: DoTail}
	}
	return Verdict{Do: doDelay, delay: s.ladder[min(used-s.tries, len(s.ladder)-1)]}
}

// LongRetry is how long after its first failure a message may still wait for a try,
// before somebody is told.
const LongRetry = 10 * time.Minute
