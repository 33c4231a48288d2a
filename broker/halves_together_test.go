package broker

import (
	"context"
	"fmt"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// sharing opens a broker whose half messages share records.
func sharing(t *testing.T) (*Broker, context.Context) {
	b, ctx := halfQueue(t)
	o := b.o.link()
	o.HalfBatch = 48
	b.halves = link.NewHalfWriter(b.c.Run, b.c.Pub, o)
	return b, ctx
}

// publishTogether publishes half messages, and returns what became of each.
func publishTogether(b *Broker, ctxs []context.Context, hs []holdfast.Half) []error {
	var mu sync.Mutex
	errs, told := make([]error, len(hs)), make([]int, len(hs))
	b.PublishHalves(ctxs, hs, func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		errs[i] = err
		told[i]++
	})
	for i, n := range told {
		if n != 1 {
			errs[i] = fmt.Errorf("told %d times", n)
		}
	}
	return errs
}

// together are n half messages of the Traced lane, g-0 and so on, and their contexts.
func together(ctx context.Context, n int) (ctxs []context.Context, hs []holdfast.Half) {
	for i := range n {
		ctxs, hs = append(ctxs, ctx), append(hs, half(fmt.Sprintf("g-%d", i), "g"))
	}
	return ctxs, hs
}

// Half messages that come together share a record at once, whatever is under way; what may not, or
// need not, has a record of its own, and what is wrong with one does not keep the others.
func TestHalvesThatComeTogether(t *testing.T) {
	b, ctx := sharing(t)
	ctxs, hs := together(ctx, 20)
	hs[3].Messages[0].Body = make([]byte, 20<<10) // too large to share
	hs[4].Messages[0].Body = make([]byte, holdfast.MaxBody+1)
	hs[5].Lane = holdfast.Express // it is of another kind than the others
	gone, cancel := context.WithCancel(ctx)
	cancel()
	ctxs[6] = gone
	for i, err := range publishTogether(b, ctxs, hs) {
		switch i {
		case 4:
			require.ErrorIs(t, err, holdfast.ErrTooLarge)
		case 6:
			require.ErrorIs(t, err, ErrNotSent)
			require.ErrorIs(t, err, context.Canceled)
		default:
			require.NoError(t, err, i)
		}
	}
	require.Equal(t, 3, ready(t, b, b.HalfQueue("g")), "records")
	for i := range 12 {
		b.Settle("g", hs[i].TxID, holdfast.Commit)
	}
	require.NoError(t, b.Flush(ctx))
	var mu sync.Mutex
	lanes := map[string]holdfast.Lane{}
	k := keep(t, b, func(o *KeeperOptions) {
		soonAfterOps(o)
		take := o.HandOver
		o.HandOver = func(ctx context.Context, halves []holdfast.Half) []error {
			mu.Lock()
			for _, h := range halves {
				lanes[h.TxID] = h.Lane
			}
			mu.Unlock()
			return take(ctx, halves)
		}
	})
	eventually(t, "all", func() bool { s := k.now(); return s.Matched == 10 && s.HandedOver == 8 && s.Held == 0 })
	for i := 12; i < 20; i++ {
		require.Equal(t, 1, k.taken.of(hs[i].TxID))
		require.Equal(t, holdfast.Traced, lanes[hs[i].TxID])
	}
	nothingHeld(t, b, k)

	// Of two, the second has no caller any more; and one has nobody to share with.
	ctxs, hs = together(ctx, 2)
	ctxs[1] = gone
	errs := publishTogether(b, ctxs, hs)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], ErrNotSent)
	d := take(t, b, b.HalfQueue("g"))
	require.False(t, wire.IsHalves(d.Headers))
	require.Equal(t, "g-0", d.MessageId)
}

// More than one record has room for are several, and none has a transaction twice.
func TestManyHalvesThatComeTogether(t *testing.T) {
	b, ctx := sharing(t)
	ctxs, hs := together(ctx, 100)
	for i := range hs {
		hs[i].Messages[0].Body = make([]byte, 4<<10)
	}
	ctxs, hs = append(ctxs, ctx), append(hs, hs[0])
	for i, err := range publishTogether(b, ctxs, hs) {
		require.NoError(t, err, i)
	}
	n := ready(t, b, b.HalfQueue("g"))
	require.Less(t, n, 10)
	var all []string
	for _, d := range takeAll(t, b, b.HalfQueue("g"), n) {
		txs := []string{d.MessageId}
		if wire.IsHalves(d.Headers) {
			var err error
			txs, _, err = wire.SplitHalves(d.Headers, d.Body, "g")
			require.NoError(t, err)
		}
		of := map[string]bool{}
		for _, tx := range txs {
			require.False(t, of[tx], tx)
			of[tx] = true
		}
		all = append(all, txs...)
	}
	require.Len(t, all, 101)
}

// A record that is not confirmed: each of its half messages goes on alone. A caller that gives up meanwhile
// is told that nothing is known, and the others wait on.
func TestHalvesThatCameTogetherAndAreNotConfirmed(t *testing.T) {
	t.Run("returned", func(t *testing.T) {
		b, ctx := sharing(t)
		rawChannel(t, b, func(ch *amqp.Channel) {
			_, err := ch.QueueDelete(b.HalfQueue("g"), false, false, false)
			require.NoError(t, err)
		})
		ctxs, hs := together(ctx, 5)
		for i, err := range publishTogether(b, ctxs, hs) {
			require.NoError(t, err, i)
		}
		require.Equal(t, 5, ready(t, b, b.HalfQueue("g")))
	})
	t.Run("lost", func(t *testing.T) {
		b, ctx := sharing(t)
		gone, cancel := context.WithCancel(ctx)
		defer cancel()
		var once sync.Once
		fault.Set(func(name string) {
			if name == fault.HalfBeforeConfirm {
				once.Do(func() { cancel(); cutConnections(b) })
			}
		})
		defer fault.Set(nil)
		ctxs, hs := together(ctx, 5)
		ctxs[2] = gone
		for i, err := range publishTogether(b, ctxs, hs) {
			if i == 2 {
				require.ErrorIs(t, err, ErrConfirmUnknown)
				continue
			}
			require.NoError(t, err, i)
		}
	})
	t.Run("RollingUpgrade", func(t *testing.T) {
		b, ctx := sharing(t)
		b.halves = link.NewHalfWriter(b.c.Run, b.c.Pub, Options{HalfBatch: 48, RollingUpgrade: true}.withDefaults().link())
		ctxs, hs := together(ctx, 5)
		for i, err := range publishTogether(b, ctxs, hs) {
			require.NoError(t, err, i)
		}
		require.Equal(t, 5, ready(t, b, b.HalfQueue("g")))
	})
}
