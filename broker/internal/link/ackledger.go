package link

import "time"

const (
	// AckDelay is how long a Keeper's acknowledgement waits for others.
	AckDelay = 20 * time.Millisecond
	// ackBatch is how many wait at most.
	ackBatch = 256
)

// AckLedger decides how settled deliveries of one channel are acknowledged: as one
// up to the oldest that is still open, the others singly. It has no clock and no
// I/O.
type AckLedger struct {
	Batch int           // how many acknowledgements wait at most
	delay time.Duration // and for how long

	open    map[uint64]bool // delivered and neither settled nor given back
	order   []uint64        // delivered ones, ascending; those at the front are open
	last    uint64          // the last one delivered
	pending []uint64        // settled ones that are not acknowledged, as they were settled
	since   time.Time       // when the first of pending was settled
}

// AckFrame is one acknowledgement to send; multiple stands for everything up to
// tag.
type AckFrame struct {
	Tag      uint64
	Multiple bool
}

// NewAckLedger is for a channel on which window deliveries may be open.
func NewAckLedger(window int, delay time.Duration) *AckLedger {
	l := &AckLedger{delay: delay, open: map[uint64]bool{}}
	l.resize(window)
	return l
}

// resize changes the window. What waits holds up a small part of it at most, and
// nothing waits in a small one.
func (l *AckLedger) resize(window int) { l.Batch = max(1, min(ackBatch, window/8)) }

// Deliver takes in a delivery; its tag is greater than all before.
func (l *AckLedger) Deliver(tag uint64) {
	l.open[tag] = true
	l.last = tag
	l.order = append(l.order, tag)
	l.trim()
}

// Settle notes that a delivery is to be acknowledged.
func (l *AckLedger) Settle(tag uint64, now time.Time) {
	delete(l.open, tag)
	if len(l.pending) == 0 {
		l.since = now
	}
	l.pending = append(l.pending, tag)
}

// GiveBack notes that the caller gives a delivery back itself.
func (l *AckLedger) GiveBack(tag uint64) { delete(l.open, tag) }

// Next is when the acknowledgements that wait are to be sent, the zero time if
// none does.
func (l *AckLedger) Next() time.Time {
	switch {
	case len(l.pending) == 0:
		return time.Time{}
	case len(l.pending) >= l.Batch:
		return l.since
	}
	return l.since.Add(l.delay)
}

// Flush returns what is to be sent now, in this order.
func (l *AckLedger) Flush() []AckFrame {
	l.trim()
	water := l.last
	if len(l.order) > 0 {
		water = l.order[0] - 1
	}
	var first AckFrame // up to water
	var frames []AckFrame
	covered := 0
	for _, tag := range l.pending {
		if tag > water {
			frames = append(frames, AckFrame{Tag: tag})
			continue
		}
		covered++
		first.Tag = max(first.Tag, tag)
	}
	l.pending = l.pending[:0]
	if covered == 0 {
		return frames
	}
	first.Multiple = covered > 1
	return append([]AckFrame{first}, frames...)
}

// trim forgets what is not open any more: at the front always, elsewhere once
// that is the larger part.
func (l *AckLedger) trim() {
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
