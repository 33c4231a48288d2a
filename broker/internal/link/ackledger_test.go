package link

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// unacked is what RabbitMQ knows of a channel.
type unacked map[uint64]bool

// ack acknowledges as RabbitMQ does, which closes the channel of one who
// acknowledges what is not there.
func (u unacked) ack(t require.TestingT, f AckFrame, settled map[uint64]bool) {
	require.Truef(t, u[f.Tag], "tag %d is not outstanding: RabbitMQ would close the channel", f.Tag)
	for tag := range u {
		if tag == f.Tag || f.Multiple && tag < f.Tag {
			require.Truef(t, settled[tag], "tag %d acknowledged although it is not settled", tag)
			delete(u, tag)
		}
	}
}

func TestAcknowledgementsShareFrames(t *testing.T) {
	l, now := NewAckLedger(2000, AckDelay), time.Unix(0, 0)
	for tag := range uint64(10) {
		l.Deliver(tag + 1)
	}
	require.True(t, l.Next().IsZero())
	for _, tag := range []uint64{2, 1, 3, 9, 7} {
		l.Settle(tag, now)
		now = now.Add(time.Millisecond)
	}
	require.Equal(t, time.Unix(0, 0).Add(AckDelay), l.Next(), "counted from the first")
	require.Equal(t, []AckFrame{{3, true}, {9, false}, {7, false}}, l.Flush(),
		"as one up to the oldest that is open, the others as they were settled")
	require.Empty(t, l.Flush())
	for _, tag := range []uint64{4, 5, 6, 8} {
		l.Settle(tag, now)
	}
	require.Equal(t, []AckFrame{{8, true}}, l.Flush(), "7 is acknowledged already, 10 is open")
	l.GiveBack(10)
	l.Deliver(11)
	l.Settle(11, now)
	require.Equal(t, []AckFrame{{11, false}}, l.Flush(), "what was given back is not open")
}

func TestAcknowledgementsWaitForFew(t *testing.T) {
	l, now := NewAckLedger(10, AckDelay), time.Unix(0, 0)
	l.Deliver(1)
	l.Settle(1, now)
	require.Equal(t, now, l.Next(), "a small window waits for none")
}

func TestAckLedgerRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		l, now := NewAckLedger(100, AckDelay), time.Unix(0, 0)
		there, settled := unacked{}, map[uint64]bool{}
		var open []uint64
		var tag uint64
		frames, acks := 0, 0
		flush := func() {
			for _, f := range l.Flush() {
				frames++
				there.ack(t, f, settled)
			}
			for tag := range there {
				require.Falsef(t, settled[tag], "tag %d is settled and not acknowledged", tag)
			}
			require.True(t, l.Next().IsZero())
		}
		for range r.IntN(300) {
			switch n := r.IntN(10); {
			case n < 4:
				tag += 1 + uint64(r.IntN(50)/49) // the ledger needs no unbroken row
				l.Deliver(tag)
				there[tag] = true
				open = append(open, tag)
			case n < 8 && len(open) > 0:
				i := r.IntN(min(len(open), 1+r.IntN(20)))
				settled[open[i]] = true
				l.Settle(open[i], now)
				open = slices.Delete(open, i, i+1)
				acks++
			case n == 8 && len(open) > 0:
				i := r.IntN(len(open))
				l.GiveBack(open[i])
				delete(there, open[i])
				open = slices.Delete(open, i, i+1)
			case n == 9:
				flush()
			}
			require.LessOrEqual(t, len(l.order), 2*len(l.open)+65, "bounded by what is open")
		}
		flush()
		require.LessOrEqual(t, frames, acks)
		require.Len(t, there, len(open))
	}
}
