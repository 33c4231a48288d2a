package broker

import (
	"context"
	"strconv"
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
	once := uint64(len(b.topo.All()) + len(b.topo.OwnQueues()))

	before := b.topo.Written.Load()
	cutConnections(b)
	allHandle(t, b, handled, n, "t2")
	status := uint64(10) // the queue of status requests is new each time
	require.LessOrEqual(t, b.topo.Written.Load()-before, 2*once+status, "each of two connections may be cut a moment after the other is back")

	eventually(t, "the other connection is back, too", b.c.Consuming.IsUp)
	before = b.topo.Written.Load()
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
	require.LessOrEqual(t, b.topo.Written.Load()-before, status)
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
		return b.topo.DeclareConsumer(ctx, "idle", wire.Bindings{Topics: []string{"all"}}, consumer.KnownDelays(nil))
	}
	require.NoError(t, declare())
	rawChannel(t, b, func(ch *amqp.Channel) {
		_, err := ch.QueueDelete(idle, false, false, false)
		require.NoError(t, err)
	})
	_, err := b.c.Subs.Subscribe(ctx, idle, 1)
	require.Error(t, err)
	require.True(t, b.topo.Ledger.Doubted(idle))
	require.NoError(t, declare())
	require.NotEqual(t, -1, ready(t, b, idle))
	require.False(t, b.topo.Ledger.Doubted(idle))
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
		written := b.topo.Written.Load()
		require.NoError(bench, s.RabbitMQ.Restart(ctx))
		began := time.Now()
		allHandle(bench, b, handled, n, "t"+strconv.Itoa(i))
		took := time.Since(began)
		bench.ReportMetric(took.Seconds(), "s-back")
		bench.ReportMetric(float64(b.topo.Written.Load()-written), "declarations")
	}
}
