package keeper

import (
	"slices"
	"time"

	"github.com/holdfastmq/holdfast"
)

// keeperLimits are the core's fixed numbers.
type keeperLimits struct {
	window      int           // records that may be held unacknowledged
	checkAfter  time.Duration // age at which a half is handed over
	join        time.Duration // what comes due so soon after another is handed over with it
	orphanAfter time.Duration // age at which an op that misses halves is forgotten
	recallAfter time.Duration // how long a recalled half is waited for
	sweepMax    int           // halves of one hand-over
	sweepBytes  int           // bytes of one hand-over, unless a single half has more
	sweeps      int           // hand-overs at the same time
	bytes       int           // records in memory; more are left to the broker until they are handed over
}

// keeperCore decides what a Keeper does: it matches halves with the ops that
// settle them, and says which halves are to be handed over. It has no clock,
// no I/O and no goroutine; its caller says what happened and when (now never
// goes back), and carries out the effects.
type keeperCore struct {
	limits keeperLimits

	halves   map[string]*heldHalf
	recalled map[string]*heldHalf // given back, to come again with their records
	order    []*heldHalf          // both by age; gone ones stay until they come to the front
	ops      []*heldOp            // by age
	misses   map[string][]*heldOp
	shares   map[uint64]*share // records of many, by their tags
	away     map[string]*share // those that are recalled, by name

	tags      int // records held
	handing   int // records held of which everything open is being handed over
	sweeping  int // hand-overs under way
	openOps   int // ops that still wait
	bytes     int // of the records in memory
	opBytes   int // of what the ops miss
	recalling int // of the recalled
	failed    int // undecided halves whose hand-over failed before
}

type heldHalf struct {
	tx     string
	lane   holdfast.Lane
	record *heldRecord // nil while it is left to the broker
	tags   []uint64    // of the record and its duplicates
	size   int
	since  time.Time // when this Keeper first saw it
	// notBefore is when it may be handed over; while it is recalled, when it is forgotten.
	notBefore time.Time
	tries     int
	state     halfState
}

type halfState int

const (
	halfHeld halfState = iota
	halfHanding
	halfRecalled
	halfGone
)

// keeperEffects is what the caller is to do.
type keeperEffects struct {
	held     bool            // a half is held that was not before
	matched  int             // halves that an op settled
	orphaned int             // ops that are forgotten although halves are missing
	acks     []uint64        // in this order: halves before the op that settles them
	recalls  []uint64        // to be given back, so that they come again
	sweeps   [][]*heldHalf   // each to be handed over, then reported with onHandedOver
	retries  []time.Duration // pauses before halves whose hand-over failed are tried again
}

func newKeeperCore(l keeperLimits) *keeperCore {
	return &keeperCore{limits: l, halves: map[string]*heldHalf{}, recalled: map[string]*heldHalf{},
		misses: map[string][]*heldOp{}, shares: map[uint64]*share{}, away: map[string]*share{}}
}

// halfArrival is a half message that has come.
type halfArrival struct {
	tx     string
	lane   holdfast.Lane
	tag    uint64
	size   int
	record *heldRecord
}

// onHalf takes in a half record of one transaction.
func (c *keeperCore) onHalf(a halfArrival, now time.Time) (e keeperEffects) {
	c.tags++
	c.take(&e, a, c.roomToKeep(a.size), now)
	return e
}

// take takes in a half message; keep says whether its record may stay in memory.
func (c *keeperCore) take(e *keeperEffects, a halfArrival, keep bool, now time.Time) {
	tx, tag := a.tx, a.tag
	back := c.recalled[tx]
	if back != nil {
		c.endRecall(back)
	}
	if ops := c.misses[tx]; len(ops) > 0 {
		delete(c.misses, tx)
		e.matched++
		c.ack(e, tag)
		for _, op := range ops {
			delete(op.missing, tx)
			c.opBytes, op.bytes = c.opBytes-missCost(tx), op.bytes-missCost(tx)
			c.await(op, tag)
			c.endOpIfDone(e, op)
		}
		return
	}
	if held := c.halves[tx]; held != nil {
		if slices.Contains(held.tags, tag) { // a record that names it twice
			c.ack(e, tag)
			return
		}
		held.tags = append(held.tags, tag)
		c.noteMember(tag, held)
		if held.state == halfHanding {
			c.hands(tag, 1)
		}
		return
	}
	if back != nil {
		if back.tries > 0 {
			c.failed++
		}
		back.state, back.tags, back.notBefore = halfHeld, []uint64{tag}, now
		if back.tries == 0 {
			back.notBefore = back.since.Add(c.limits.checkAfter)
		}
		back.record, back.size = a.record, a.size
		c.bytes += a.size
		c.halves[tx] = back
		c.noteMember(tag, back)
		return
	}
	held := &heldHalf{tx: tx, lane: a.lane, tags: []uint64{tag}, size: a.size, since: now,
		notBefore: now.Add(c.limits.checkAfter)}
	if keep {
		held.record = a.record
		c.bytes += a.size
	}
	c.halves[tx] = held
	c.order = append(c.order, held)
	c.noteMember(tag, held)
	e.held = true
}

// roomToKeep reports whether a new record may stay in memory; a quarter is for
// those that are recalled.
func (c *keeperCore) roomToKeep(size int) bool {
	return c.bytes+c.recalling+size <= c.limits.bytes/4*3
}

// roomToRecall reports whether a record may come again; one always may.
func (c *keeperCore) roomToRecall(size int) bool {
	all := c.bytes + c.recalling
	return all+size <= c.limits.bytes || all == 0
}

// recall gives a half back whose record is needed: it comes again with it.
func (c *keeperCore) recall(e *keeperEffects, held *heldHalf, now time.Time) {
	for _, tag := range slices.Clone(held.tags) {
		c.giveBack(e, held, tag, now)
	}
	if held.state == halfHeld { // its record is on its way already
		c.without(held, 0, now)
	}
}

// giveBack gives a record of a half back, to come again. What else is in a record of many, comes
// again with it.
func (c *keeperCore) giveBack(e *keeperEffects, held *heldHalf, tag uint64, now time.Time) {
	if s := c.shares[tag]; s != nil {
		c.giveShareBack(s, now)
	} else {
		if held.state == halfHanding {
			c.hands(tag, -1)
		}
		c.without(held, tag, now)
	}
	c.tags--
	e.recalls = append(e.recalls, tag)
}

// without takes a tag from a half, which is recalled once it has none.
func (c *keeperCore) without(held *heldHalf, tag uint64, now time.Time) {
	if held.has(tag) && held.tags[0] == tag {
		c.drop(held) // of the duplicates nothing is known
	}
	held.tags = slices.DeleteFunc(held.tags, func(t uint64) bool { return t == tag })
	if len(held.tags) > 0 || held.state != halfHeld {
		return
	}
	delete(c.halves, held.tx)
	c.recalled[held.tx] = held
	c.recalling += held.size
	held.state, held.notBefore = halfRecalled, now.Add(c.limits.recallAfter)
}

// endRecall says that a recalled half came again, or is not waited for any more.
func (c *keeperCore) endRecall(held *heldHalf) {
	delete(c.recalled, held.tx)
	c.recalling -= held.size
	c.forget(held)
}

// forget says that a half is not undecided any more.
func (c *keeperCore) forget(held *heldHalf) {
	held.state = halfGone
	if held.tries > 0 {
		c.failed--
	}
}

// drop leaves a record to the broker.
func (c *keeperCore) drop(held *heldHalf) {
	if held.record != nil {
		held.record = nil
		c.bytes -= held.size
	}
}

// undecided is how many halves are neither settled nor handed over.
func (c *keeperCore) undecided() int { return len(c.halves) + len(c.recalled) }

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
	c.handsAll(held, -1)
	c.forget(held)
	delete(c.halves, held.tx)
	tags := held.tags
	held.tags = nil
	for _, tag := range tags {
		c.ack(e, tag)
	}
	c.drop(held)
}

// endRecord ends the record of a half that is being handed over. Its duplicates were
// not read, and may be other records: they are given back, to come again.
func (c *keeperCore) endRecord(e *keeperEffects, held *heldHalf, now time.Time) {
	keep := 1
	if held.record == nil { // it was given back meanwhile
		keep = 0
	}
	for len(held.tags) > keep {
		c.giveBack(e, held, held.tags[keep], now)
	}
	c.endHalf(e, held)
}

// ack acknowledges a record, one of many once nothing in it is open.
func (c *keeperCore) ack(e *keeperEffects, tag uint64) {
	if s := c.shares[tag]; s != nil {
		c.settle(e, s)
		return
	}
	c.tags--
	e.acks = append(e.acks, tag)
}

// trim forgets what is gone: always at the front, everywhere once that is the
// larger part.
func (c *keeperCore) trim() {
	c.order = trimmed(c.order, c.undecided(), func(h *heldHalf) bool { return h.state == halfGone })
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
