package keeper

import (
	"maps"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// share is a record of many. It is acknowledged when nothing in it is open.
type share struct {
	name    string // it has the same if it comes again
	tag     uint64
	open    int // halves in it that are neither settled nor handed over
	handing int // of them, being handed over
	members []*heldHalf
	// ops settled some of it. They stay until all of it is: if the record comes again, they do.
	ops []*heldOp
	// left are those that were open when it was recalled, until when it is waited for.
	left  map[string]bool
	until time.Time
}

// manyArrival is a half record of many that has come.
type manyArrival struct {
	name   string
	lane   holdfast.Lane
	tag    uint64
	halves []halfArrival
}

// onMany takes in a half record of many. If it was recalled, what was settled of it before
// does not count again.
func (c *keeperCore) onMany(a manyArrival, now time.Time) (e keeperEffects) {
	c.tags++
	s := &share{name: a.name, tag: a.tag, open: 1}
	c.shares[a.tag] = s
	was := c.away[a.name]
	if was != nil {
		delete(c.away, a.name)
		s.ops = was.ops
	}
	size := 0
	for _, h := range a.halves {
		size += h.size
	}
	keep := c.roomToKeep(size)
	for _, h := range a.halves {
		if was == nil || was.left[h.tx] {
			s.open++
			h.lane, h.tag = a.lane, a.tag
			c.take(&e, h, keep, now)
		}
	}
	c.settle(&e, s)
	return e
}

// noteMember says that a half is in the record of this tag, which may be one of many.
func (c *keeperCore) noteMember(tag uint64, held *heldHalf) {
	if s := c.shares[tag]; s != nil {
		s.members = append(s.members, held)
	}
}

// settle says that a half of a record of many is not open any more.
func (c *keeperCore) settle(e *keeperEffects, s *share) {
	c.change(s, func() { s.open-- })
	if s.open > 0 {
		return
	}
	delete(c.shares, s.tag)
	c.ack(e, s.tag)
	c.endShare(e, s)
}

// endShare lets the ops go that waited for a record.
func (c *keeperCore) endShare(e *keeperEffects, s *share) {
	for _, op := range s.ops {
		op.waits--
		c.endOpIfDone(e, op)
	}
	s.ops = nil
}

// await has an op wait for a record of which it settled a part, if anything in it is open.
func (c *keeperCore) await(op *heldOp, tag uint64) {
	s := c.shares[tag]
	if s == nil || len(s.ops) > 0 && s.ops[len(s.ops)-1] == op {
		return
	}
	s.ops = append(s.ops, op)
	op.waits++
}

// hands counts the halves of a record that are being handed over.
func (c *keeperCore) hands(tag uint64, n int) {
	if s := c.shares[tag]; s != nil {
		c.change(s, func() { s.handing += n })
		return
	}
	c.handing += n
}

func (c *keeperCore) handsAll(held *heldHalf, n int) {
	if n < 0 && held.state != halfHanding {
		return
	}
	for _, tag := range held.tags {
		c.hands(tag, n)
	}
}

// change has f change a record's counts, and sees whether all that is open of it is
// being handed over.
func (c *keeperCore) change(s *share, f func()) {
	before := s.allHanding()
	f()
	if after := s.allHanding(); after != before {
		if after {
			c.handing++
		} else {
			c.handing--
		}
	}
}

func (s *share) allHanding() bool { return s.open > 0 && s.handing == s.open }

// giveShareBack has what is open of a record of many come again.
func (c *keeperCore) giveShareBack(s *share, now time.Time) {
	c.change(s, func() { s.handing = 0 })
	delete(c.shares, s.tag)
	s.left, s.until = make(map[string]bool, s.open), now.Add(c.limits.recallAfter)
	for _, held := range s.members {
		if held.has(s.tag) {
			s.left[held.tx] = true
			c.without(held, s.tag, now)
		}
	}
	s.members = nil
	if other := c.away[s.name]; other != nil { // its duplicate
		s.ops = append(s.ops, other.ops...)
		maps.Copy(s.left, other.left)
	}
	c.away[s.name] = s
}

func (h *heldHalf) has(tag uint64) bool { return slices.Contains(h.tags, tag) }

// toRecall is how many bytes come again if a half is recalled; ok is false while something that
// would come with it is being handed over.
func (c *keeperCore) toRecall(held *heldHalf) (size int, ok bool) {
	size = held.size
	for _, tag := range held.tags {
		s := c.shares[tag]
		if s == nil {
			continue
		}
		if s.handing > 0 {
			return 0, false
		}
		for _, m := range s.members {
			if m != held && m.record == nil && m.has(tag) {
				size += m.size
			}
		}
	}
	return size, true
}

// heldRecord is the record of a half message in memory, or its part of one of many.
type heldRecord struct {
	d    *amqp.Delivery
	tx   string // of a part, whose line is body
	body []byte
}

// delivery is the half record, or what it would be if it were not a part.
func (r *heldRecord) delivery() *amqp.Delivery {
	if r.tx == "" {
		return r.d
	}
	return wire.HalfAlone(r.d, r.tx, r.body)
}

func (r *heldRecord) line() []byte {
	if r.tx == "" {
		return r.d.Body
	}
	return r.body
}
