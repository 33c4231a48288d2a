package broker

import (
	"context"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// several opens a Broker of a group with n half queues.
func several(t *testing.T, prefix string, n int) *Broker {
	t.Helper()
	b := open(t, stacktest.Shared(t).AMQPURL(), prefix, func(o *Options) { o.HalfQueues = n })
	require.NoError(t, b.DeclareGroup(testContext(t), "g"))
	return b
}

// Others compute the same: this is part of the wire format.
func TestHalfQueueOf(t *testing.T) {
	o := Options{Prefix: "holdfast", HalfQueues: 4}
	for tx, queue := range map[string]string{
		"01a1fcae-178d-7d58-b8c5-7f7457761200": "holdfast.half.orders#2", // 3151003961
		"order-1":                              "holdfast.half.orders#2", // 729795949
		"order-3":                              "holdfast.half.orders#4",
		"a":                                    "holdfast.half.orders", // 3826002220
	} {
		require.Equal(t, queue, o.names().HalfQueueOf("orders", tx), tx)
	}
	o.HalfQueues = 1
	require.Equal(t, "holdfast.half.orders", o.names().HalfQueueOf("orders", "order-1"))
}

func TestGroupOfHalfQueue(t *testing.T) {
	for queue, group := range map[string]string{"p.half.g": "g", "p.half.g#2": "g", "p.half.g.h#16": "g.h",
		"p.half.g#1": "", "p.half.g#02": "", "p.half.g#17": "", "p.half.g#": "", "p.half.#2": "", "p.half.g#2#2": "", "q.half.g": ""} {
		require.Equal(t, group, wire.GroupOf("p", queue), queue)
	}
}

// kept sums up what a group's Keepers say.
func kept(b *Broker) (sum wire.KeeperStatus, keepers int) {
	for _, k := range b.board.Status(wire.StatusRequest{}).Keepers {
		keepers++
		sum.Held, sum.Undecided, sum.Malformed = sum.Held+k.Held, sum.Undecided+k.Undecided, sum.Malformed+k.Malformed
		sum.Matched, sum.HandedOver, sum.Orphaned = sum.Matched+k.Matched, sum.HandedOver+k.HandedOver, sum.Orphaned+k.Orphaned
	}
	return sum, keepers
}

// keepGroup runs the Keepers of a group, which look for queues all the time.
func keepGroup(t *testing.T, b *Broker, checkAfter time.Duration) (stop func(), taken *tally) {
	t.Helper()
	taken = &tally{}
	b.lookForQueues = 10 * time.Millisecond
	stop = background(t, func(ctx context.Context) error {
		return b.KeepGroup(ctx, KeeperOptions{Group: "g", CheckAfter: checkAfter,
			HandOver: func(_ context.Context, halves []holdfast.Half) []error {
				for _, h := range halves {
					taken.add(h.TxID)
				}
				return make([]error, len(halves))
			}})
	})
	return stop, taken
}

func TestHalfQueuesShareTheWork(t *testing.T) {
	b, ctx := several(t, stacktest.Prefix(t), 4), testContext(t)
	const n = 80
	want := map[string]int{}
	var txs []string
	for range n {
		tx := newTx()
		txs = append(txs, tx)
		want[b.HalfQueueOf("g", tx)]++
		require.NoError(t, b.PublishHalf(ctx, half(tx, "g")))
	}
	require.Len(t, want, 4, "the IDs are spread over all")
	for _, queue := range b.HalfQueues("g") {
		eventually(t, queue, func() bool { return ready(t, b, queue) == want[queue] })
	}
	stop, taken := keepGroup(t, b, time.Hour)
	eventually(t, "held", func() bool { s, _ := kept(b); return s.Held == n && s.Undecided == n })
	for i, tx := range txs {
		b.Settle("g", tx, []holdfast.Resolution{holdfast.Commit, holdfast.Rollback}[i%2])
	}
	eventually(t, "matched", func() bool { s, _ := kept(b); return s.Held == 0 && s.Matched == n && s.Orphaned == 0 })
	stop()
	require.Zero(t, taken.sum())
	for _, queue := range b.HalfQueues("g") {
		eventually(t, queue+" is empty", func() bool { return ready(t, b, queue) == 0 })
	}
}

// A process with fewer half queues keeps those that others have made.
func TestHalfQueuesRaised(t *testing.T) {
	old := several(t, stacktest.Prefix(t), 1)
	_, taken := keepGroup(t, old, 10*time.Millisecond)
	b := several(t, old.o.Prefix, 3)
	want := map[string]bool{}
	for tx := newTx(); len(want) < 3; tx = newTx() {
		want[b.HalfQueueOf("g", tx)] = true
		require.NoError(t, b.PublishHalf(testContext(t), half(tx, "g")))
		eventually(t, "taken over", func() bool { return taken.of(tx) > 0 })
	}
	names, err := old.FindHalfQueues(testContext(t), "g")
	require.NoError(t, err)
	require.Equal(t, b.HalfQueues("g"), names)
}

// What is left in queues beyond the number is kept, until somebody deletes them.
func TestHalfQueuesLowered(t *testing.T) {
	before, ctx := several(t, stacktest.Prefix(t), 3), testContext(t)
	var txs []string
	for range 30 {
		tx := newTx()
		txs = append(txs, tx)
		require.NoError(t, before.PublishHalf(ctx, half(tx, "g")))
	}
	require.NoError(t, before.Close(ctx))
	b := several(t, before.o.Prefix, 1)
	_, taken := keepGroup(t, b, 100*time.Millisecond)
	for _, tx := range txs {
		eventually(t, "taken over", func() bool { return taken.of(tx) > 0 })
	}
	for n := 3; n > 1; n-- {
		queue := wire.HalfQueue(b.o.Prefix, "g", n)
		eventually(t, "empty", func() bool { return ready(t, b, queue) == 0 })
		rawChannel(t, b, func(ch *amqp.Channel) {
			_, err := ch.QueueDelete(queue, false, false, false)
			require.NoError(t, err)
		})
		eventually(t, "not kept any more", func() bool { _, keepers := kept(b); return keepers == n-1 })
		require.Equal(t, -1, ready(t, b, queue), "it is not made anew")
	}
	require.NoError(t, b.PublishHalf(ctx, half("last", "g")))
	eventually(t, "taken over", func() bool { return taken.of("last") > 0 })
}

// A transaction whose half message and op record were written with different
// numbers of queues is handed over, which is always right.
func TestHalfQueuesChangedMeanwhile(t *testing.T) {
	one := several(t, stacktest.Prefix(t), 1)
	two := several(t, one.o.Prefix, 2)
	tx := newTx()
	for two.HalfQueueOf("g", tx) == two.HalfQueue("g") {
		tx = newTx()
	}
	require.NoError(t, one.PublishHalf(testContext(t), half(tx, "g")))
	two.Settle("g", tx, holdfast.Commit)
	require.NoError(t, two.Flush(testContext(t)))
	_, taken := keepGroup(t, two, 100*time.Millisecond)
	eventually(t, "handed over, and the op record forgotten", func() bool {
		s, _ := kept(two)
		return taken.of(tx) > 0 && s.Orphaned == 1 && s.Held == 0
	})
}

func TestHalfQueuesAreChecked(t *testing.T) {
	_, err := Open(testContext(t), Options{URL: stacktest.Shared(t).AMQPURL(), HalfQueues: wire.MaxHalfQueues + 1})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "HalfQueues")
	b, ctx := halfQueue(t)
	require.ErrorIs(t, b.KeepGroup(ctx, KeeperOptions{Group: "g", Queue: 1}), holdfast.ErrInvalid)
}
