package keeper

import (
	"slices"
	"time"
)

type heldOp struct {
	tag     uint64
	missing map[string]bool
	bytes   int // what missing takes in memory, about
	since   time.Time
	waits   int // records of many that are open, of which it settled a part
	gone    bool
}

// onOp takes in an op record that settles txs.
func (c *keeperCore) onOp(txs []string, tag uint64, now time.Time) (e keeperEffects) {
	c.tags++
	op := &heldOp{tag: tag, since: now, waits: 1} // for what is below
	seen := make(map[string]bool, len(txs))
	for _, tx := range txs {
		if seen[tx] {
			continue
		}
		seen[tx] = true
		if held := c.halves[tx]; held != nil {
			e.matched++
			tags := held.tags
			c.endHalf(&e, held)
			for _, tag := range tags {
				c.await(op, tag)
			}
			continue
		}
		if op.missing == nil {
			op.missing = map[string]bool{}
		}
		op.missing[tx] = true
		c.misses[tx] = append(c.misses[tx], op)
		op.bytes += missCost(tx)
		c.opBytes += missCost(tx)
		if op.bytes > c.limits.ofOps() {
			break
		}
	}
	c.openOps++
	op.waits--
	if c.endOpIfDone(&e, op) {
		return e
	}
	c.ops = append(c.ops, op)
	c.forgetOps(&e)
	return e
}

// ofOps is how many bytes ops may take in memory that miss halves.
func (l keeperLimits) ofOps() int { return max(l.bytes/4, 1<<20) }

// missCost is what a missing half takes in memory, about: two entries of maps.
func missCost(tx string) int { return 256 + len(tx) }

// forgetOps forgets the oldest ops while they all take too much memory: their
// halves, should they come, are checked back.
func (c *keeperCore) forgetOps(e *keeperEffects) {
	for _, op := range c.ops {
		if c.opBytes <= c.limits.ofOps() {
			return
		}
		if !op.gone {
			e.orphaned++
			c.endOp(e, op)
		}
	}
}

// endOpIfDone ends an op that waits for nothing, and reports whether it has ended.
func (c *keeperCore) endOpIfDone(e *keeperEffects, op *heldOp) bool {
	if !op.gone && len(op.missing) == 0 && op.waits == 0 {
		c.endOp(e, op)
	}
	return op.gone
}

// releaseOps ends ops that only wait for records of many, the oldest first, while the window is
// nearly full: they are kept so that what they settled is not checked back if such a record comes
// again, to another Keeper.
func (c *keeperCore) releaseOps(e *keeperEffects) {
	for _, op := range c.ops {
		if !c.nearlyFull() {
			return
		}
		if !op.gone && len(op.missing) == 0 {
			c.endOp(e, op)
		}
	}
}

func (c *keeperCore) endOp(e *keeperEffects, op *heldOp) {
	op.gone = true
	c.openOps--
	c.forgetMissing(op)
	c.ack(e, op.tag)
}

// forgetMissing says that an op does not wait for halves any more that have not come.
func (c *keeperCore) forgetMissing(op *heldOp) {
	for tx := range op.missing {
		rest := slices.DeleteFunc(c.misses[tx], func(o *heldOp) bool { return o == op })
		if len(rest) == 0 {
			delete(c.misses, tx)
		} else {
			c.misses[tx] = rest
		}
	}
	c.opBytes -= op.bytes
	op.missing, op.bytes = nil, 0
}

// onIgnored takes in a record that does not count.
func (c *keeperCore) onIgnored(tag uint64) (e keeperEffects) {
	c.tags++
	c.ack(&e, tag)
	return e
}
