package broker

import "time"

const (
	// ackDelay is how long a Keeper's acknowledgement waits for others.
	ackDelay = 20 * time.Millisecond
	// ackBatch is how many wait at most.
	ackBatch = 256
)

// ackLedger decides how settled deliveries of one channel are acknowledged: as one
// up to the oldest that is still open, the others singly. It has no clock and no
// I/O.
type ackLedger struct {
	batch int           // how many acknowledgements wait at most
	delay time.Duration // and for how long

	open    map[uint64]bool // delivered and neither settled nor given back
	order   []uint64        // delivered ones, ascending; those at the front are open
	last    uint64          // the last one delivered
	pending []uint64        // settled ones that are not acknowledged, as they were settled
	since   time.Time       // when the first of pending was settled
}

// ackFrame is one acknowledgement to send; multiple stands for everything up to
// tag.
type ackFrame struct {
	tag      uint64
	multiple bool
}

// newAckLedger is for a channel on which window deliveries may be open.
func newAckLedger(window int, delay time.Duration) *ackLedger {
	l := &ackLedger{delay: delay, open: map[uint64]bool{}}
	l.resize(window)
	return l
}

// resize changes the window. What waits holds up a small part of it at most, and
// nothing waits in a small one.
func (l *ackLedger) resize(window int) { l.batch = max(1, min(ackBatch, window/8)) }

// deliver takes in a delivery; its tag is greater than all before.
func (l *ackLedger) deliver(tag uint64) {
	l.open[tag] = true
	l.last = tag
	l.order = append(l.order, tag)
	l.trim()
}

// settle notes that a delivery is to be acknowledged.
func (l *ackLedger) settle(tag uint64, now time.Time) {
	delete(l.open, tag)
	if len(l.pending) == 0 {
		l.since = now
	}
	l.pending = append(l.pending, tag)
}

// giveBack notes that the caller gives a delivery back itself.
func (l *ackLedger) giveBack(tag uint64) { delete(l.open, tag) }

// next is when the acknowledgements that wait are to be sent, the zero time if
// none does.
func (l *ackLedger) next() time.Time {
	switch {
	case len(l.pending) == 0:
		return time.Time{}
	case len(l.pending) >= l.batch:
		return l.since
	}
	return l.since.Add(l.delay)
}

// flush returns what is to be sent now, in this order.
func (l *ackLedger) flush() []ackFrame {
	l.trim()
	water := l.last
	if len(l.order) > 0 {
		water = l.order[0] - 1
	}
	var first ackFrame // up to water
	var frames []ackFrame
	covered := 0
	for _, tag := range l.pending {
		if tag > water {
			frames = append(frames, ackFrame{tag: tag})
			continue
		}
		covered++
		first.tag = max(first.tag, tag)
	}
	l.pending = l.pending[:0]
	if covered == 0 {
		return frames
	}
	first.multiple = covered > 1
	return append([]ackFrame{first}, frames...)
}

// trim forgets what is not open any more: at the front always, elsewhere once
// that is the larger part.
func (l *ackLedger) trim() {
	n := 0
	for n < len(l.order) && !l.open[l.order[n]] {
		n++
	}
	l.order = l.order[n:]
	if len(l.order) <= 2*len(l.open)+64 {
		return
	}
	alive := make([]uint64, 0, len(l.open))
	for _, tag := range l.order {
		if l.open[tag] {
			alive = append(alive, tag)
		}
	}
	l.order = alive
}
