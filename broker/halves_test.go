package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// expressHalf is a half message that may share a record.
func expressHalf(tx string) holdfast.Half {
	h := half(tx, "g")
	h.Lane = holdfast.Express
	return h
}

// gathering has two half messages under way, so that the next ones gather.
type gathering struct {
	t    *testing.T
	b    *Broker
	ctx  context.Context
	pass chan struct{} // closed: confirms are looked at

	mu      sync.Mutex
	held    int    // half messages that are written, and not confirmed
	written func() // what happens once another one is written, after pass

	pending sync.WaitGroup
	errs    tally // what publishes ended with
}

// gatherHalves opens a broker whose half messages share records.
func gatherHalves(t *testing.T, patience time.Duration) *gathering {
	b, ctx := sharing(t)
	g := &gathering{t: t, b: b, ctx: ctx, pass: make(chan struct{})}
	b.halves.Patience = patience
	fault.Set(func(name string) {
		if name != fault.HalfBeforeConfirm {
			return
		}
		g.mu.Lock()
		g.held++
		f := g.written
		first := g.held <= 2
		g.mu.Unlock()
		if first {
			<-g.pass
		} else if f != nil {
			f()
		}
	})
	t.Cleanup(func() { fault.Set(nil) })
	for i := range 2 {
		g.publish(ctx, expressHalf(fmt.Sprintf("first-%d", i)))
		eventually(t, "under way", func() bool { return g.now() == i+1 })
	}
	return g
}

func (g *gathering) now() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// publish publishes a half message in the background.
func (g *gathering) publish(ctx context.Context, h holdfast.Half) {
	g.pending.Go(func() {
		err := g.b.PublishHalf(ctx, h)
		switch {
		case err == nil:
			g.errs.add("stored")
		case errors.Is(err, ErrNotSent):
			g.errs.add("not sent")
		case errors.Is(err, ErrConfirmUnknown):
			g.errs.add("unknown")
		default:
			g.errs.add(err.Error())
		}
	})
}

// gather publishes n half messages, g-0 and so on, which wait for the next record.
func (g *gathering) gather(n int) {
	for i := range n {
		g.publish(g.ctx, expressHalf(fmt.Sprintf("g-%d", i)))
	}
	g.waiting(n)
}

func (g *gathering) waiting(n int) {
	g.t.Helper()
	eventually(g.t, "they wait", func() bool { return g.b.halves.Waiting() == n })
}

// records are those in the half queue: their transactions.
func (g *gathering) records(n int) (alone, shared []string) {
	for _, d := range takeAll(g.t, g.b, g.b.HalfQueue("g"), n) {
		if !wire.IsHalves(d.Headers) {
			alone = append(alone, d.MessageId)
			continue
		}
		txs, _, err := wire.SplitHalves(d.Headers, d.Body, "g")
		require.NoError(g.t, err)
		shared = append(shared, txs...)
	}
	return alone, shared
}

// Half messages that come while others are being confirmed share a record, and each
// is settled by itself.
func TestHalvesShareARecord(t *testing.T) {
	g := gatherHalves(t, time.Hour)
	g.gather(20)
	close(g.pass)
	g.pending.Wait()
	require.Equal(t, 22, g.errs.of("stored"))
	require.Equal(t, 3, ready(t, g.b, g.b.HalfQueue("g")), "records")
	for i := range 15 {
		g.b.Settle("g", fmt.Sprintf("g-%d", i), holdfast.Commit)
	}
	require.NoError(t, g.b.Flush(g.ctx))
	k := keep(t, g.b, soonAfterOps)
	eventually(t, "all", func() bool { s := k.now(); return s.Matched == 15 && s.HandedOver == 7 && s.Held == 0 })
	for i := 15; i < 20; i++ {
		require.Equal(t, 1, k.taken.of(fmt.Sprintf("g-%d", i)))
	}
	nothingHeld(t, g.b, k)
	// One after the other, each has a record of its own.
	for i := range 5 {
		require.NoError(t, g.b.PublishHalf(g.ctx, expressHalf(fmt.Sprintf("alone-%d", i))))
	}
	alone, shared := g.records(5)
	require.Len(t, alone, 5)
	require.Empty(t, shared)
}

// What waits longer than halfPatience does not wait for what is under way.
func TestGatheredHalvesDoNotWaitForEver(t *testing.T) {
	g := gatherHalves(t, time.Millisecond)
	for i := range 5 {
		g.publish(g.ctx, expressHalf(fmt.Sprintf("g-%d", i)))
	}
	eventually(t, "stored", func() bool { return g.errs.of("stored") == 5 })
	close(g.pass)
	g.pending.Wait()
}

// A caller that gives up while its half message waits, or is not written yet, is never
// published; the others are.
func TestHalfOfACallerThatGaveUp(t *testing.T) {
	g := gatherHalves(t, time.Hour)
	ctx, cancel := context.WithCancel(g.ctx)
	g.publish(ctx, expressHalf("gone"))
	g.waiting(1)
	cancel()
	eventually(t, "gave up", func() bool { return g.errs.of("not sent") == 1 })
	g.waiting(0)
	g.gather(3)

	ctx, cancel = context.WithCancel(g.ctx)
	g.publish(ctx, expressHalf("gone-later"))
	g.waiting(4)
	g.b.c.Publishing.SetBlocked(amqp.Blocking{Active: true, Reason: "test"})
	close(g.pass)
	eventually(t, "the record is on its way", func() bool { return g.b.halves.Waiting() == 0 })
	cancel()
	eventually(t, "gave up", func() bool { return g.errs.of("not sent") == 2 })
	g.b.c.Publishing.SetBlocked(amqp.Blocking{})
	g.pending.Wait()
	require.Equal(t, 5, g.errs.of("stored"))
	alone, shared := g.records(5)
	require.ElementsMatch(t, []string{"first-0", "first-1", "g-0", "g-1", "g-2"}, append(alone, shared...))
}

// A caller that gives up while the record is being confirmed is told that nothing is
// known; the others wait on.
func TestHalfOfACallerThatGaveUpLater(t *testing.T) {
	g := gatherHalves(t, time.Hour)
	g.gather(3)
	ctx, cancel := context.WithCancel(g.ctx)
	g.publish(ctx, expressHalf("gone"))
	g.waiting(4)
	var once sync.Once
	g.written = func() {
		once.Do(func() {
			cancel()
			eventually(t, "gave up", func() bool { return g.errs.of("unknown") == 1 })
		})
	}
	close(g.pass)
	g.pending.Wait()
	require.Equal(t, 5, g.errs.of("stored"))
	alone, shared := g.records(3)
	require.ElementsMatch(t, []string{"first-0", "first-1"}, alone)
	require.ElementsMatch(t, []string{"g-0", "g-1", "g-2", "gone"}, shared)
}

// A record of many that is not confirmed: each of its half messages goes on alone.
func TestSharedRecordThatIsNotConfirmed(t *testing.T) {
	t.Run("returned", func(t *testing.T) {
		g := gatherHalves(t, time.Hour)
		g.gather(5)
		rawChannel(t, g.b, func(ch *amqp.Channel) {
			_, err := ch.QueueDelete(g.b.HalfQueue("g"), false, false, false)
			require.NoError(t, err)
		})
		close(g.pass)
		g.pending.Wait()
		require.Equal(t, 7, g.errs.of("stored"))
		alone, shared := g.records(5)
		require.ElementsMatch(t, []string{"g-0", "g-1", "g-2", "g-3", "g-4"}, alone)
		require.Empty(t, shared)
	})
	t.Run("lost", func(t *testing.T) {
		g := gatherHalves(t, time.Hour)
		g.gather(5)
		var once sync.Once
		g.written = func() { once.Do(func() { cutConnections(g.b) }) }
		close(g.pass)
		g.pending.Wait()
		require.Equal(t, 7, g.errs.of("stored"))
		for i := range 5 {
			g.b.Settle("g", fmt.Sprintf("g-%d", i), holdfast.Commit)
		}
		require.NoError(t, g.b.Flush(g.ctx))
		k := keep(t, g.b, soonAfterOps)
		eventually(t, "all", func() bool { s := k.now(); return s.Matched >= 5 && s.HandedOver >= 2 && s.Held == 0 })
		nothingHeld(t, g.b, k)
	})
}

// What is large has a record of its own, and records of many are not large.
func TestSizeOfSharedRecords(t *testing.T) {
	g := gatherHalves(t, time.Hour)
	large := expressHalf("large")
	large.Messages[0].Body = make([]byte, 20<<10)
	require.NoError(t, g.b.PublishHalf(g.ctx, large), "it does not wait")
	require.NoError(t, g.b.PublishHalf(g.ctx, half("traced", "g")), "nor does one of the Traced lane")
	for i := range 30 {
		h := expressHalf(fmt.Sprintf("g-%d", i))
		h.Messages[0].Body = make([]byte, 8<<10)
		g.publish(g.ctx, h)
	}
	g.waiting(30)
	close(g.pass)
	g.pending.Wait()
	require.Equal(t, 32, g.errs.of("stored"))
	n := 0
	for _, d := range takeAll(t, g.b, g.b.HalfQueue("g"), ready(t, g.b, g.b.HalfQueue("g"))) {
		if txs, _, err := wire.SplitHalves(d.Headers, d.Body, "g"); wire.IsHalves(d.Headers) {
			require.NoError(t, err)
			require.LessOrEqual(t, len(d.Body), 129<<10)
			n += len(txs)
		}
	}
	require.Equal(t, 30, n)
}

// Beside a Keeper of an older version no record has many half messages.
func TestNoSharedRecordsInARollingUpgrade(t *testing.T) {
	o := Options{HalfBatch: 48, RollingUpgrade: true}.withDefaults()
	require.Equal(t, 1, o.HalfBatch)
	require.Equal(t, 1, Options{}.withDefaults().HalfBatch)
	require.Equal(t, 48, Options{HalfBatch: 48}.withDefaults().HalfBatch)
	require.ErrorContains(t, Options{URL: "amqp://x", HalfBatch: 65}.withDefaults().validate(), "HalfBatch is 65")
}

// many is a record of many.
func many(t *testing.T, txs ...string) amqp.Publishing {
	var records []amqp.Publishing
	for _, tx := range txs {
		p, err := wire.EncodeHalf(half(tx, "g"))
		require.NoError(t, err)
		records = append(records, p)
	}
	return wire.EncodeHalves(records)
}

// A Keeper of the version before takes a record of many for malformed, whole. Its dead letter,
// redelivered once the new version runs, has each half message settled by itself.
func TestSharedRecordThatAnOlderKeeperSetAside(t *testing.T) {
	b, ctx := deadQueueOf(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	records := deadLetters(t, b)
	msg := many(t, "a", "b", "c")
	d := &amqp.Delivery{Headers: msg.Headers, MessageId: msg.MessageId, ContentType: msg.ContentType, Body: msg.Body,
		Exchange: b.HalfExchange(), RoutingKey: b.HalfQueue("g")}
	why := wire.Malformed(`half record of version "3", this program reads versions 1 and 2: upgrade it`)
	require.NoError(t, b.c.PublishDead(ctx, wire.EncodeDead(d, wire.DeathOf(b.HalfQueue("g"), "", 1, why, time.Now()))))
	letter := next(t, records).Letter
	require.Equal(t, "a~2", letter.ID)
	_, err := b.HalfOf(*letter)
	require.ErrorContains(t, err, "half messages of 3 transactions")

	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *letter, N: 1}))
	k := keep(t, b, soonAfterOps)
	require.Equal(t, &wire.HandledRecord{Queue: b.HalfQueue("g"), MessageID: "a~2", Redelivery: 1}, next(t, records).Handled)
	b.Settle("g", "b", holdfast.Commit)
	eventually(t, "all", func() bool { s := k.now(); return s.Matched == 1 && s.HandedOver == 2 && s.Held == 0 })
	require.Zero(t, k.taken.of("b"))
	nothingHeld(t, b, k)
}

// What is wrong with one line becomes a dead letter of its own, which can be redelivered; what is
// wrong with the record, one of the whole.
func TestMalformedSharedRecords(t *testing.T) {
	b, _ := halfQueue(t)
	line := many(t, "a", "b", "c")
	lines := strings.Split(string(line.Body), "\n")
	line.Body = []byte(lines[0] + "\n?\n" + lines[2])
	short := many(t, "d", "e")
	short.Body = []byte(lines[0])
	foreign := many(t, "f", "g")
	foreign.Headers[wire.HeaderGroup] = "other"
	rawChannel(t, b, func(ch *amqp.Channel) {
		for _, p := range []amqp.Publishing{line, short, foreign} {
			require.NoError(t, ch.Publish(b.HalfExchange(), b.HalfQueue("g"), false, false, p))
		}
	})
	k := keep(t, b, soon)
	eventually(t, "all", func() bool { s := k.now(); return s.HandedOver == 2 && s.Malformed == 3 && s.Held == 0 })
	require.Equal(t, 1, k.taken.of("a"))
	require.Equal(t, 1, k.taken.of("c"))
	dead := map[string]string{}
	for _, d := range takeAll(t, b, b.DeadQueue(), 3) {
		require.EqualValues(t, holdfast.ClassMalformed, d.Headers[wire.HeaderErrorClass])
		dead[d.MessageId] = string(d.Body)
	}
	require.Equal(t, map[string]string{"b": "?", "d~1": string(short.Body), "f~1": string(foreign.Body)}, dead)
	nothingHeld(t, b, k)
}

// A record of many reads as its members' own records do.
func TestSharedRecordOnTheWire(t *testing.T) {
	a := half("a", "g")
	a.Lane, a.Database = holdfast.Express, "db-1"
	b := half("b", "g")
	b.Lane, b.Database = a.Lane, a.Database
	b.Messages[0].Body = []byte("two\nlines")
	var records []amqp.Publishing
	for _, h := range []holdfast.Half{a, b} {
		p, err := wire.EncodeHalf(h)
		require.NoError(t, err)
		records = append(records, p)
	}
	p := wire.EncodeHalves(records)
	require.Equal(t, "a~1", p.MessageId)
	require.Equal(t, amqp.Table{"holdfast-kind": "half", "holdfast-version": "3", "holdfast-txs": "a b",
		"holdfast-group": "g", "holdfast-lane": "express", "holdfast-database": "db-1"}, p.Headers)
	d := &amqp.Delivery{Headers: p.Headers, MessageId: p.MessageId, ContentType: p.ContentType, Body: p.Body}
	txs, lines, err := wire.SplitHalves(d.Headers, d.Body, "g")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, txs)
	for i, want := range []holdfast.Half{a, b} {
		alone := wire.HalfAlone(d, txs[i], lines[i])
		require.Equal(t, records[i].Headers, alone.Headers)
		got, err := wire.DecodeHalf(alone.Headers, alone.Body, "g", 1000)
		require.NoError(t, err)
		want.At, got.At = time.Time{}, time.Time{}
		require.Equal(t, want.Messages[0].Body, got.Messages[0].Body)
		require.Equal(t, want.Database, got.Database)
		require.Equal(t, want.Lane, got.Lane)
	}
	_, err = wire.DecodeHalf(d.Headers, d.Body, "g", 1000)
	require.ErrorContains(t, err, "half messages of 2 transactions")
	for what, c := range map[string]struct {
		change func(h amqp.Table)
		body   []byte
	}{
		"2 lines":               {func(h amqp.Table) { h["holdfast-txs"] = "a b c" }, p.Body},
		"half queue of":         {func(h amqp.Table) { h["holdfast-group"] = "x" }, p.Body},
		"of 65 transactions":    {func(h amqp.Table) { h["holdfast-txs"] = strings.Repeat("a ", 64) + "a" }, p.Body},
		"ID is empty":           {func(h amqp.Table) { h["holdfast-txs"] = "a  b" }, p.Body},
		"has 4097 bytes":        {func(h amqp.Table) { h["holdfast-txs"] = strings.Repeat("a", 4097) }, p.Body},
		"the limit is 1048576":  {func(amqp.Table) {}, make([]byte, 1<<20+1)},
		"transaction's ID is e": {func(h amqp.Table) { delete(h, "holdfast-txs") }, p.Body},
	} {
		h := amqp.Table{}
		for name, v := range p.Headers {
			h[name] = v
		}
		c.change(h)
		_, _, err := wire.SplitHalves(h, c.body, "g")
		require.ErrorIs(t, err, holdfast.ErrMalformed)
		require.ErrorContains(t, err, what)
	}
}

// More records of many than fit into a Keeper's memory: they come again when they are handed over,
// and what was settled of them does not count again.
func TestSharedRecordsBeyondTheMemoryOfAKeeper(t *testing.T) {
	b, ctx := halfQueue(t)
	const n, members = 60, 15
	var settled []string
	for i := range n {
		var lines []amqp.Publishing
		for j := range members {
			h := half(fmt.Sprintf("r%d-%d", i, j), "g")
			h.Messages[0].Body = []byte(strings.Repeat("x", 8<<10))
			p, err := wire.EncodeHalf(h)
			require.NoError(t, err)
			lines = append(lines, p)
		}
		publishRaw(t, b, b.HalfExchange(), b.HalfQueue("g"), wire.EncodeHalves(lines))
		settled = append(settled, fmt.Sprintf("r%d-%d", i, i%members))
	}
	for _, tx := range settled {
		b.Settle("g", tx, holdfast.Commit)
	}
	require.NoError(t, b.Flush(ctx))
	refused := make(chan struct{})
	most := 0
	k := keep(t, b, func(o *KeeperOptions) {
		soon(o)
		o.CheckAfter, o.HeldBytes = time.Second, 4<<20
		stats, take := o.Stats, o.HandOver
		o.Stats = func(s KeeperStats) {
			most = max(most, s.HeldBytes)
			stats(s)
		}
		o.HandOver = func(ctx context.Context, halves []holdfast.Half) []error {
			// On a slow machine some are due before their op comes. They are refused to the end: one
			// that counted again would stay.
			if slices.ContainsFunc(halves, func(h holdfast.Half) bool { return slices.Contains(settled, h.TxID) }) {
				return nil
			}
			select {
			case <-refused:
				return take(ctx, halves)
			default:
				return nil
			}
		}
	})
	eventually(t, "all is there, and refused", func() bool {
		s := k.now()
		return s.Matched == n && s.Failed > 0 && s.Undecided == n*(members-1)
	})
	close(refused)
	eventually(t, "all", func() bool { s := k.now(); return s.HandedOver == n*(members-1) && s.Held == 0 })
	require.EqualValues(t, n, k.now().Matched)
	for _, tx := range settled {
		require.Zero(t, k.taken.of(tx))
	}
	k.stop()
	require.Equal(t, n*(members-1), k.taken.distinct())
	require.LessOrEqual(t, most, 4<<20)
	require.Zero(t, ready(t, b, b.HalfQueue("g")))
}
