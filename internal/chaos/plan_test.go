package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/holdfastmq/holdfast/internal/fault"
)

// The processes of a run.
const (
	producers = 3
	consumers = 2
	// callers is how many send at a time in each producer.
	callers = 20
)

// checkAfter is the age at which a Keeper hands a half over.
const checkAfter = 2 * time.Second

// trouble is what happens to a call.
type trouble string

const (
	none      trouble = ""
	refuses   trouble = "refuses"   // the local transaction returns an error
	panics    trouble = "panics"    //
	slow      trouble = "slow"      // it is open for longer than checkAfter, and ends well
	cancelled trouble = "cancelled" // its caller goes away at some time
	late      trouble = "late"      // its caller has little time
)

// per thousand calls
var troubles = []struct {
	trouble trouble
	weight  int
}{{refuses, 50}, {panics, 20}, {cancelled, 30}, {late, 20}, {slow, 3}}

// call is one call of SendAll that a producer makes.
type call struct {
	Slot, N  int
	Ref      string // no other call has it
	ID       string // the chosen ID, if there is one
	Units    []int  // one message for each
	Changes  bool   // the local transaction changes the messages
	Traced   bool
	Trouble  trouble
	Patience time.Duration // of the caller, where it is cancelled or late
}

// newCalls are the nth calls of a producer, which are made at the same time, or,
// with inTurn, one after the other. They have one ID, if they are several.
func newCalls(seed uint64, slot, n int) (calls []call, inTurn bool) {
	// Each has its own source: so one can be told of a seed and its number.
	rnd := rand.New(rand.NewPCG(seed, uint64(slot)<<32|uint64(n)))
	first := newCall(rnd, slot, n)
	first.Ref = fmt.Sprintf("%d-%d", slot, n)
	switch pick := rnd.IntN(100); {
	case n%100 == 7: // what all producers send
		first.ID, first.Traced = chosen(rand.New(rand.NewPCG(seed, 1<<62|uint64(n)))), false
	case pick < 5:
		first.ID = chosen(rnd)
	case pick < 10:
		first.ID = chosen(rnd)
		second := newCall(rnd, slot, n)
		second.Ref, second.ID, second.Traced = first.Ref+"-again", first.ID, first.Traced
		return []call{first, second}, rnd.IntN(2) == 0
	}
	return []call{first}, false
}

func newCall(rnd *rand.Rand, slot, n int) call {
	c := call{Slot: slot, N: n, Changes: rnd.IntN(5) == 0, Traced: rnd.IntN(10) == 0}
	messages := 1
	if rnd.IntN(10) == 0 {
		messages += 1 + rnd.IntN(3)
	}
	for range messages {
		c.Units = append(c.Units, 1+rnd.IntN(100))
	}
	draw := rnd.IntN(1000)
	for _, t := range troubles {
		if draw < t.weight {
			c.Trouble = t.trouble
			break
		}
		draw -= t.weight
	}
	if c.Trouble == cancelled || c.Trouble == late {
		c.Patience = time.Duration(rnd.IntN(40_000)) * time.Microsecond
	}
	return c
}

// chosen is an ID that a seed makes.
func chosen(rnd *rand.Rand) string {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(rnd.Uint32())
	}
	return id.String()
}

// again is a call that repeats one whose end is not known: with the same ID, as a
// caller does that chose it for that.
func (c call) again() call {
	c.Ref += "-repeated"
	c.Trouble = none
	return c
}

// planned is the call that a reference names.
func planned(seed uint64, ref string) (call, error) {
	var slot, n int
	if _, err := fmt.Sscanf(ref, "%d-%d", &slot, &n); err != nil {
		return call{}, fmt.Errorf("reference %q: %w", ref, err)
	}
	calls, _ := newCalls(seed, slot, n)
	for range strings.Count(ref, "-repeated") {
		for _, c := range calls {
			calls = append(calls, c.again())
		}
	}
	for _, c := range calls {
		if c.Ref == ref {
			return c, nil
		}
	}
	return call{}, fmt.Errorf("no call is planned as %q", ref)
}

// target is what is killed.
type target string

const (
	aProducer   target = "producer"
	theKeeper   target = "active Keeper"
	aConsumer   target = "consumer"
	rabbitMQ    target = "RabbitMQ"
	postgreSQL  target = "PostgreSQL"
	temporal    target = "Temporal"
	connections target = "connections"
)

// deck is what is killed before anything is killed more often, shuffled.
var deck = []target{aProducer, aProducer, aProducer, theKeeper, theKeeper, aConsumer, aConsumer, rabbitMQ, postgreSQL, temporal, connections, connections}

// kill is the end of something. Its instant is counted in calls that have ended.
type kill struct {
	after int
	what  target
	which int    // of several
	point string // where a process dies; empty: wherever it is
	hit   int    // the how manieth time it comes there
}

var producerPoints = []string{fault.HalfBeforeConfirm, fault.HalfAfterConfirm, insideLocal, fault.LocalAfterCommit,
	fault.CommitBeforePublish, fault.CommitBeforeConfirm, fault.CommitAfterConfirm}

var keeperPoints = []string{fault.KeeperHolding, fault.KeeperBeforeAck}

var consumerPoints = []string{fault.ConsumeBefore, insideHandler, fault.ConsumeAfterCommit}

// newKills makes kills for a run of calls.
func newKills(seed uint64, calls, kills int) []kill {
	rnd := rand.New(rand.NewPCG(seed, 1<<63))
	var out []kill
	var cards []target
	for i := range kills {
		if len(cards) == 0 {
			cards = append(cards, deck...)
			rnd.Shuffle(len(cards), func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
		}
		k := kill{after: (i + 1) * calls * 9 / 10 / (kills + 1), what: cards[0], which: rnd.IntN(1 << 16), hit: 1 + rnd.IntN(50)}
		cards = cards[1:]
		points := map[target][]string{aProducer: producerPoints, theKeeper: keeperPoints, aConsumer: consumerPoints}[k.what]
		if len(points) > 0 && rnd.IntN(2) == 0 {
			k.point = points[rnd.IntN(len(points))]
		}
		if k.point == fault.KeeperBeforeAck { // it does not come there often
			k.hit = 1
		}
		out = append(out, k)
	}
	return out
}
