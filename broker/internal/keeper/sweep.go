package keeper

import (
	"errors"
	"time"
)

// onHandedOver takes in the result of a sweep: an error for each half, nil
// where it was taken over durably, errBuried where its record is with the dead
// letters. An op may have settled some of them meanwhile.
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
		if i < len(errs) && errors.Is(errs[i], errBuried) {
			c.endRecord(&e, held, now)
			continue
		}
		c.handsAll(held, -1)
		held.state = halfHeld
		pause := min(time.Second<<min(held.tries, 5), 30*time.Second)
		if held.tries++; held.tries == 1 {
			c.failed++
		}
		held.notBefore = now.Add(pause)
		if !c.roomToKeep(0) {
			c.drop(held)
		}
		e.retries = append(e.retries, pause)
	}
	return e
}

// due says what is to be done now because of age, or because the window is
// nearly full.
func (c *keeperCore) due(now time.Time) (e keeperEffects) {
	c.trim()
	for _, op := range c.ops {
		if op.gone || len(op.missing) == 0 {
			continue
		}
		if now.Sub(op.since) < c.limits.orphanAfter {
			break
		}
		e.orphaned++
		c.forgetMissing(op)
		c.endOpIfDone(&e, op)
	}
	for _, held := range c.recalled {
		if !now.Before(held.notBefore) { // somebody else has taken it out of the queue
			c.endRecall(held)
		}
	}
	for name, s := range c.away {
		if !now.Before(s.until) {
			delete(c.away, name)
			c.endShare(&e, s)
		}
	}
	c.releaseOps(&e)
	for c.sweeping < c.limits.sweeps {
		sweep := c.sweep(&e, now)
		if len(sweep) == 0 {
			break
		}
		c.sweeping++
		e.sweeps = append(e.sweeps, sweep)
	}
	// Nothing but ops in the window: the oldest must go, or no half could come.
	for _, op := range c.ops {
		if !c.nearlyFull() || c.undecided() > 0 {
			break
		}
		if !op.gone {
			e.orphaned++
			c.endOp(&e, op)
		}
	}
	return e
}

// sweep picks the oldest halves that are due, with those that soon are, or any
// while the window is nearly full, and marks them as being handed over. Those
// whose record is not in memory it recalls.
func (c *keeperCore) sweep(e *keeperEffects, now time.Time) []*heldHalf {
	var out []*heldHalf
	size := 0
	for _, held := range c.order {
		if len(out) == c.limits.sweepMax {
			break
		}
		if held.state != halfHeld {
			continue
		}
		by := now
		if len(out) > 0 {
			by = now.Add(c.limits.join)
		}
		if by.Before(held.notBefore) && (held.tries > 0 || !c.nearlyFull()) {
			if c.failed == 0 {
				break // the rest is younger
			}
			continue
		}
		if held.record == nil {
			if size, ok := c.toRecall(held); ok && c.roomToRecall(size) {
				c.recall(e, held, now)
			}
			continue
		}
		if len(out) > 0 && size+held.size > c.limits.sweepBytes {
			break
		}
		size += held.size
		held.state = halfHanding
		c.handsAll(held, 1)
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
		if !op.gone && len(op.missing) > 0 {
			earlier(op.since.Add(c.limits.orphanAfter))
			break
		}
	}
	for _, s := range c.away {
		earlier(s.until)
	}
	for _, held := range c.recalled {
		earlier(held.notBefore)
	}
	if c.sweeping >= c.limits.sweeps {
		return at
	}
	for _, held := range c.order {
		if held.state != halfHeld {
			continue
		}
		if held.record == nil {
			if size, ok := c.toRecall(held); !ok || !c.roomToRecall(size) {
				continue
			}
		}
		earlier(held.notBefore)
		if c.failed == 0 {
			break // the rest is younger
		}
	}
	return at
}
