package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// manyConsumers starts n consumers of one process, and returns who has handled what.
func manyConsumers(t testing.TB, b *Broker, n int) (handled *tally) {
	handled = &tally{}
	for i := range n {
		name := "c" + strconv.Itoa(i)
		background(t, func(ctx context.Context) error {
			return b.Consume(ctx, Subscription{Name: name, Topics: []string{"order." + name, "all"}, Concurrency: 1,
				Handle: func(_ context.Context, d Delivery) error {
					handled.add(name + " " + d.TxID)
					return nil
				}})
		})
	}
	return handled
}

// allHandle publishes to all n consumers, and waits until each has handled it.
func allHandle(t testing.TB, b *Broker, handled *tally, n int, tx string) {
	require.NoError(t, b.PublishMessages(testContext(t), "g", tx, messages(tx, "all", 1)))
	for i := range n {
		eventually(t, "handled by each", func() bool { return handled.of("c"+strconv.Itoa(i)+" "+tx) > 0 })
	}
}

// After a lost connection the process looks once at what it needs, whatever the number
// of its consumers, and not at all where another connection was there all the time.
func TestComingBackIsOneLook(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	const n = 12
	for i := range n { // or a message could come before its queue
		require.NoError(t, b.DeclareConsumer(testContext(t), "c"+strconv.Itoa(i), []string{"all"}))
	}
	handled := manyConsumers(t, b, n)
	allHandle(t, b, handled, n, "t1")
	once := uint64(len(b.topo.all()) + len(b.topo.ownQueues()))

	before := b.topo.written.Load()
	cutConnections(b)
	allHandle(t, b, handled, n, "t2")
	status := uint64(10) // the queue of status requests is new each time
	require.LessOrEqual(t, b.topo.written.Load()-before, 2*once+status, "each of two connections may be cut a moment after the other is back")

	eventually(t, "the other connection is back, too", b.c.Consuming.IsUp)
	before = b.topo.written.Load()
	b.c.Publishing.Mu.Lock()
	raw := b.c.Publishing.Raw
	b.c.Publishing.Mu.Unlock()
	require.NoError(t, raw.Close())
	eventually(t, "the loss is noticed", func() bool {
		b.c.Publishing.Mu.Lock()
		defer b.c.Publishing.Mu.Unlock()
		return b.c.Publishing.Raw != raw
	})
	allHandle(t, b, handled, n, "t3")
	require.LessOrEqual(t, b.topo.written.Load()-before, status)
}

// A queue that is deleted is made again, by whoever notices, with its bindings.
func TestDeletedUnderItsConnection(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	require.NoError(t, b.DeclareConsumer(testContext(t), "c0", []string{"all"}))
	require.NoError(t, b.DeclareConsumer(testContext(t), "c1", []string{"all"}))
	handled := manyConsumers(t, b, 2)
	deadLetters(t, b)
	allHandle(t, b, handled, 2, "t1")
	for _, queue := range []string{b.ConsumerQueue("c0"), b.AloneQueue("c1"), b.DeadQueue()} {
		rawChannel(t, b, func(ch *amqp.Channel) {
			_, err := ch.QueueDelete(queue, false, false, false)
			require.NoError(t, err)
		})
		eventually(t, "it is there again: "+queue, func() bool { return ready(t, b, queue) >= 0 })
	}
	allHandle(t, b, handled, 2, "t2")

	// Nobody consumed this one; who is about to finds out.
	ctx, idle := testContext(t), b.ConsumerQueue("idle")
	declare := func() error {
		return b.declareConsumer(ctx, "idle", wire.Bindings{Topics: []string{"all"}}, consumer.KnownDelays(nil))
	}
	require.NoError(t, declare())
	rawChannel(t, b, func(ch *amqp.Channel) {
		_, err := ch.QueueDelete(idle, false, false, false)
		require.NoError(t, err)
	})
	_, err := b.c.Subs.Subscribe(ctx, idle, 1)
	require.Error(t, err)
	require.True(t, b.topo.ledger.doubted(idle))
	require.NoError(t, declare())
	require.NotEqual(t, -1, ready(t, b, idle))
	require.False(t, b.topo.ledger.doubted(idle))
}

// What was made before a declaration was late is not made again; and one that is never
// answered holds up the others once.
func TestLateDeclaration(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	b.topo.late = 100 * time.Millisecond
	var done tally
	late := make(chan struct{})
	var slow atomic.Bool
	slow.Store(true)
	var steps []step
	for i := range 40 {
		name := strconv.Itoa(i)
		steps = append(steps, step{what: name, do: func(ch *amqp.Channel, _ bool) error {
			if name == "20" && slow.Load() {
				<-late
				return errors.New("too late")
			}
			done.add(name)
			return nil
		}})
	}
	err := b.declare(testContext(t), steps)
	require.ErrorIs(t, err, errLate)
	require.ErrorContains(t, err, "declare 20: ")
	require.Equal(t, 39, done.distinct())
	slow.Store(false)
	at := done.sum()
	require.NoError(t, b.declare(testContext(t), steps))
	require.Equal(t, at+1, done.sum(), "only what was late")
	close(late)
}

// A step that is refused among many is found, and the others are taken.
func TestRefusedAmongMany(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	conn, err := b.c.Consuming.Get(testContext(t))
	require.NoError(t, err)
	var steps, conflicts []step
	var want []string
	for i := range 60 {
		name := fmt.Sprintf("%s.x%d", b.o.Prefix, i)
		steps = append(steps, briefly(exchangeStep(name, amqp.ExchangeDirect, nil))...)
		if i%25 == 20 {
			want = append(want, name)
			conflicts = append(conflicts, briefly(exchangeStep(name, amqp.ExchangeFanout, nil))...)
		}
	}
	t.Cleanup(func() {
		rawChannel(t, b, func(ch *amqp.Channel) {
			for _, s := range steps {
				_ = ch.ExchangeDelete(s.of, false, false)
			}
		})
	})
	require.NoError(t, b.topo.run(testContext(t), conn, conflicts))
	var failed []string
	require.NoError(t, b.topo.each(testContext(t), conn, steps, func(s step, _ error) (bool, error) {
		failed = append(failed, s.of)
		return false, nil
	}))
	require.Equal(t, want, failed)
	for _, s := range steps {
		there, err := b.c.Calls.Exists(testContext(t), conn, func(ch *amqp.Channel) error { return s.there(ch, false) })
		require.NoError(t, err)
		require.True(t, there, s.of)
	}
}

// What was made is not made again, until it may be gone.
func TestLedger(t *testing.T) {
	l := newLedger()
	q, r, status := step{what: "queue q", of: "q"}, step{what: "queue r", of: "r"}, step{what: "queue status", of: "status", brief: true}
	all := []step{q, r, status}
	lacks := func(want ...string) {
		t.Helper()
		var got []string
		for _, s := range l.lacking(append(all, q)) {
			got = append(got, s.of)
		}
		require.Equal(t, want, got)
	}
	lacks("q", "r", "status")
	era := l.now()
	l.add(era, all)
	lacks("status") // it goes by itself
	l.doubt("q")
	lacks("q", "status")
	require.True(t, l.doubted("x", "q"))
	require.False(t, l.doubted("r"))
	l.sure("q")
	require.False(t, l.doubted("q"))
	l.add(era, all)
	l.forget([]step{r})
	lacks("r", "status")
	l.doubt("q")
	require.Greater(t, l.begin(), era)
	require.False(t, l.doubted("q"))
	l.add(era, all) // by who began before RabbitMQ was lost
	lacks("q", "r", "status")

	one, other := &amqp.Connection{}, &amqp.Connection{}
	l.attest(one, true)
	l.attest(other, false)
	require.Len(t, l.attesting(), 2)
	l.attest(other, true)
	require.Equal(t, []*amqp.Connection{other}, l.attesting(), "the others were there before that")
}

// BenchmarkComeBack restarts a RabbitMQ of its own, and prints how long 200 consumers of
// one process take to handle what is published then.
func BenchmarkComeBack(bench *testing.B) {
	s := stacktest.Private(bench)
	const n = 200
	b := open(bench, s.AMQPURL(), "comeback", func(o *Options) { o.PublishTimeout = 30 * time.Second })
	ctx := testContext(bench)
	began := time.Now()
	require.NoError(bench, b.DeclareGroup(ctx, "g"))
	for i := range n {
		require.NoError(bench, b.DeclareConsumer(ctx, "c"+strconv.Itoa(i), []string{"all"}))
	}
	bench.Logf("made: %v", time.Since(began))
	handled := manyConsumers(bench, b, n)
	allHandle(bench, b, handled, n, "before")
	bench.Logf("first handled: %v", time.Since(began))
	for i := 0; bench.Loop(); i++ {
		written := b.topo.written.Load()
		require.NoError(bench, s.RabbitMQ.Restart(ctx))
		began := time.Now()
		allHandle(bench, b, handled, n, "t"+strconv.Itoa(i))
		took := time.Since(began)
		bench.ReportMetric(took.Seconds(), "s-back")
		bench.ReportMetric(float64(b.topo.written.Load()-written), "declarations")
	}
}
