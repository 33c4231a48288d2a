package broker

import (
	"slices"
	"time"

	"github.com/holdfastmq/holdfast"
)

// keeperLimits are the core's fixed numbers.
type keeperLimits struct {
	window      int           // records that may be held unacknowledged
	checkAfter  time.Duration // age at which a half is handed over
	orphanAfter time.Duration // age at which an op that misses halves is forgotten
	sweepMax    int           // halves of one hand-over
	sweepBytes  int           // bytes of one hand-over, unless a single half has more
	sweeps      int           // hand-overs at the same time
}

// keeperCore decides what a Keeper does: it matches halves with the ops that
// settle them, and says which halves are to be handed over. It has no clock,
// no I/O and no goroutine; its caller says what happened and when (now never
// goes back), and carries out the effects.
type keeperCore struct {
	limits keeperLimits

	halves map[string]*heldHalf
	order  []*heldHalf // by age; gone ones stay until they come to the front
	ops    []*heldOp   // by age, likewise
	misses map[string][]*heldOp

	tags     int // records held
	handing  int // records held of halves that are being handed over
	sweeping int // hand-overs under way
	openOps  int // ops that still wait
}

type heldHalf struct {
	half  holdfast.Half
	tags  []uint64 // of the record and its duplicates
	size  int
	since time.Time // when this Keeper first saw it
	after time.Time // not to be handed over before
	tries int
	state halfState
}

type halfState int

const (
	halfHeld halfState = iota
	halfHanding
	halfGone
)

type heldOp struct {
	tag     uint64
	missing map[string]bool
	since   time.Time
	gone    bool
}

// keeperEffects is what the caller is to do.
type keeperEffects struct {
	held     bool            // a half is held that was not before
	matched  int             // halves that an op settled
	orphaned int             // ops that are forgotten although halves are missing
	acks     []uint64        // in this order: halves before the op that settles them
	sweeps   [][]*heldHalf   // each to be handed over, then reported with onHandedOver
	retries  []time.Duration // pauses before halves whose hand-over failed are tried again
}

func newKeeperCore(l keeperLimits) *keeperCore {
	return &keeperCore{limits: l, halves: map[string]*heldHalf{}, misses: map[string][]*heldOp{}}
}

// onHalf takes in a half record.
func (c *keeperCore) onHalf(h holdfast.Half, tag uint64, size int, now time.Time) (e keeperEffects) {
	c.tags++
	if ops := c.misses[h.TxID]; len(ops) > 0 {
		delete(c.misses, h.TxID)
		e.matched++
		c.ack(&e, tag)
		for _, op := range ops {
			delete(op.missing, h.TxID)
			if len(op.missing) == 0 {
				c.endOp(&e, op)
			}
		}
		return e
	}
	if held := c.halves[h.TxID]; held != nil {
		held.tags = append(held.tags, tag)
		if held.state == halfHanding {
			c.handing++
		}
		return e
	}
	held := &heldHalf{half: h, tags: []uint64{tag}, size: size, since: now, after: now.Add(c.limits.checkAfter)}
	c.halves[h.TxID] = held
	c.order = append(c.order, held)
	e.held = true
	return e
}

// onOp takes in an op record that settles txs.
func (c *keeperCore) onOp(txs []string, tag uint64, now time.Time) (e keeperEffects) {
	c.tags++
	op := &heldOp{tag: tag, since: now}
	seen := make(map[string]bool, len(txs))
	for _, tx := range txs {
		if seen[tx] {
			continue
		}
		seen[tx] = true
		if held := c.halves[tx]; held != nil {
			e.matched++
			c.endHalf(&e, held)
			continue
		}
		if op.missing == nil {
			op.missing = map[string]bool{}
		}
		op.missing[tx] = true
		c.misses[tx] = append(c.misses[tx], op)
	}
	c.openOps++
	if len(op.missing) == 0 {
		c.endOp(&e, op)
		return e
	}
	c.ops = append(c.ops, op)
	return e
}

// onHandedOver takes in the result of a sweep: an error for each half, nil
// where it was taken over durably. An op may have settled some of them
// meanwhile.
func (c *keeperCore) onHandedOver(sweep []*heldHalf, errs []error, now time.Time) (e keeperEffects) {
	c.sweeping--
	for i, held := range sweep {
		if held.state == halfGone {
			continue
		}
		if i < len(errs) && errs[i] == nil {
			c.endHalf(&e, held)
			continue
		}
		c.handing -= len(held.tags)
		held.state = halfHeld
		pause := min(time.Second<<min(held.tries, 5), 30*time.Second)
		held.tries++
		held.after = now.Add(pause)
		e.retries = append(e.retries, pause)
	}
	return e
}

// due says what is to be done now because of age, or because the window is
// nearly full.
func (c *keeperCore) due(now time.Time) (e keeperEffects) {
	c.trim()
	for _, op := range c.ops {
		if op.gone {
			continue
		}
		if now.Sub(op.since) < c.limits.orphanAfter {
			break
		}
		e.orphaned++
		c.endOp(&e, op)
	}
	for c.sweeping < c.limits.sweeps {
		sweep := c.sweep(now)
		if len(sweep) == 0 {
			break
		}
		c.sweeping++
		e.sweeps = append(e.sweeps, sweep)
	}
	// Nothing but ops in the window: the oldest must go, or no half could come.
	for _, op := range c.ops {
		if !c.nearlyFull() || len(c.halves) > 0 {
			break
		}
		if !op.gone {
			e.orphaned++
			c.endOp(&e, op)
		}
	}
	return e
}

// sweep picks the oldest halves that are due, or any while the window is nearly
// full, and marks them as being handed over.
func (c *keeperCore) sweep(now time.Time) []*heldHalf {
	var out []*heldHalf
	size := 0
	for _, held := range c.order {
		if len(out) == c.limits.sweepMax {
			break
		}
		if held.state != halfHeld {
			continue
		}
		failed := held.tries > 0
		if now.Before(held.after) && (failed || !c.nearlyFull()) {
			if !failed {
				break // the rest is younger
			}
			continue
		}
		if len(out) > 0 && size+held.size > c.limits.sweepBytes {
			break
		}
		size += held.size
		held.state = halfHanding
		c.handing += len(held.tags)
		out = append(out, held)
	}
	return out
}

// nearlyFull reports whether records that nobody is about to settle fill 90 %
// of the window.
func (c *keeperCore) nearlyFull() bool { return (c.tags-c.handing)*10 >= c.limits.window*9 }

// next is when due has something to do again, the zero time if that depends on
// further events only.
func (c *keeperCore) next() time.Time {
	c.trim()
	var at time.Time
	earlier := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, op := range c.ops {
		if !op.gone {
			earlier(op.since.Add(c.limits.orphanAfter))
			break
		}
	}
	if c.sweeping >= c.limits.sweeps {
		return at
	}
	for _, held := range c.order {
		if held.state != halfHeld {
			continue
		}
		earlier(held.after)
		if held.tries == 0 {
			break // the rest is younger, but for failed ones, which are older
		}
	}
	return at
}

// oldest is when the oldest half that is held was first seen, the zero time if
// none is held.
func (c *keeperCore) oldest() time.Time {
	c.trim()
	if len(c.order) == 0 {
		return time.Time{}
	}
	return c.order[0].since
}

func (c *keeperCore) endHalf(e *keeperEffects, held *heldHalf) {
	if held.state == halfHanding {
		c.handing -= len(held.tags)
	}
	held.state = halfGone
	delete(c.halves, held.half.TxID)
	for _, tag := range held.tags {
		c.ack(e, tag)
	}
	held.half.Messages = nil
}

func (c *keeperCore) endOp(e *keeperEffects, op *heldOp) {
	op.gone = true
	c.openOps--
	for tx := range op.missing {
		rest := slices.DeleteFunc(c.misses[tx], func(o *heldOp) bool { return o == op })
		if len(rest) == 0 {
			delete(c.misses, tx)
		} else {
			c.misses[tx] = rest
		}
	}
	op.missing = nil
	c.ack(e, op.tag)
}

func (c *keeperCore) ack(e *keeperEffects, tag uint64) {
	c.tags--
	e.acks = append(e.acks, tag)
}

// trim forgets what is gone: always at the front, everywhere once that is the
// larger part.
func (c *keeperCore) trim() {
	c.order = trimmed(c.order, len(c.halves), func(h *heldHalf) bool { return h.state == halfGone })
	c.ops = trimmed(c.ops, c.openOps, func(o *heldOp) bool { return o.gone })
}

func trimmed[T any](list []*T, alive int, gone func(*T) bool) []*T {
	n := 0
	for n < len(list) && gone(list[n]) {
		list[n] = nil
		n++
	}
	list = list[n:]
	if len(list) > 2*alive+64 {
		list = slices.DeleteFunc(list, gone)
	}
	return list
}

// onBad takes in a record that cannot be read; it counts as held until
// onBuried.
func (c *keeperCore) onBad() {
	c.tags++
	c.handing++
}

// onBuried says that the record is stored with the dead letters.
func (c *keeperCore) onBuried(tag uint64) (e keeperEffects) {
	c.handing--
	c.ack(&e, tag)
	return e
}
