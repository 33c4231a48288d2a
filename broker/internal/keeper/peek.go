package keeper

import (
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	// peekWait is how long a Keeper that is busy is waited for.
	peekWait = 200 * time.Millisecond
	// maxPeekRead is how many bytes of records are read for one answer.
	maxPeekRead = 8 << 20
)

// peeking is Peek's question to a Keeper.
type peeking struct {
	n      int
	answer chan<- []peekedRecord // never blocks
}

// peekedRecord is a half message and the body of its record, if that is in memory.
type peekedRecord struct {
	half  wire.PeekedHalf
	since time.Time
	body  []byte
}

// peek shows the oldest n undecided halves.
func (c *keeperCore) peek(n int) (out []peekedRecord) {
	c.trim()
	for _, held := range c.order {
		if len(out) == n {
			break
		}
		if held.state == halfGone {
			continue
		}
		p := peekedRecord{since: held.since, half: wire.PeekedHalf{Tx: held.tx, Lane: held.lane, Tries: held.tries,
			HandingOver: held.state == halfHanding, Bytes: held.size}}
		if held.record != nil {
			p.body = held.record.line()
		}
		out = append(out, p)
	}
	return out
}

// peek asks the session for the oldest n half messages; it reads at most maxPeekRead
// bytes of records.
func (k *keeper) peek(n int) (out []wire.PeekedHalf) {
	answer := make(chan []peekedRecord, 1)
	timer := time.NewTimer(peekWait)
	defer timer.Stop()
	select {
	case k.peeks <- peeking{n, answer}:
	case <-timer.C:
		return nil
	}
	read := 0
	for _, p := range <-answer {
		p.half.Age = time.Since(p.since)
		if read += len(p.body); read <= maxPeekRead {
			p.half.Read(p.body)
		}
		out = append(out, p.half)
	}
	return out
}
