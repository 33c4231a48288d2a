package broker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// onLadder puts messages into a delay queue, as the consumers' retries, alternately.
func onLadder(t *testing.T, b *Broker, delay time.Duration, n int, consumers ...string) {
	t.Helper()
	at := time.Now().Add(-time.Hour).UTC()
	log := wire.EncodeLog([]holdfast.Attempt{{N: 1, At: at, Class: holdfast.ClassError, Error: "oops"},
		{N: 2, At: at.Add(30 * time.Minute)}})
	rawChannel(t, b, func(ch *amqp.Channel) {
		for i := range n {
			for _, c := range consumers {
				err := ch.Publish(b.RetryQueue(delay), b.ConsumerQueue(c), true, false, amqp.Publishing{
					MessageId: fmt.Sprintf("%s-%d", c, i), DeliveryMode: amqp.Persistent,
					Headers: amqp.Table{wire.HeaderLog: log, wire.HeaderAttempts: "2", wire.HeaderHops: "1",
						wire.HeaderRoutingKey: "order.placed", wire.HeaderExchange: b.TopicsExchange()}})
				require.NoError(t, err)
			}
		}
	})
}

// What waits in a delay queue is told by consumer, and put back into the queues of those
// consumers only that are named; others' messages stay, with their own times.
func TestLadderByConsumer(t *testing.T) {
	t.Parallel()
	b, ctx := consuming(t)
	const delay, n = 17 * time.Minute, 150 // more than a batch together
	to := wire.Bindings{Topics: []string{"order.*"}}
	require.NoError(t, b.topo.DeclareConsumer(ctx, "c", to, []time.Duration{delay, 2 * time.Second}))
	require.NoError(t, b.topo.DeclareConsumer(ctx, "other", to, []time.Duration{delay}))
	queue := b.RetryQueue(delay)
	onLadder(t, b, delay, n, "c", "other")

	eventually(t, "all are seen", func() bool {
		l, err := b.PeekLadder(ctx, queue, MaxLadder)
		require.NoError(t, err)
		return l.Seen == 2*n && l.Messages == 2*n && len(l.Waits) == 2 && l.Waits[0].Count == n && l.Waits[1].Count == n
	})
	eventually(t, "a part is seen", func() bool {
		l, err := b.PeekLadder(ctx, queue, 10)
		require.NoError(t, err)
		if l.Seen != 10 || l.Messages != 2*n {
			return false
		}
		count := 0
		for _, w := range l.Waits {
			require.Contains(t, []string{"c", "other"}, w.Consumer)
			require.NotEmpty(t, w.Examples)
			count += w.Count
		}
		require.Equal(t, 10, count)
		require.WithinDuration(t, time.Now().Add(-time.Hour), l.Waits[0].Since, time.Hour/2)
		require.Zero(t, l.Waits[0].Next, "it waits for another delay after this one")
		return true
	})
	l, err := b.PeekLadder(ctx, b.RetryQueue(19*time.Minute), 10)
	require.NoError(t, err)
	require.Equal(t, LadderQueue{Name: b.RetryQueue(19 * time.Minute)}, l, "there is no such queue")
	_, err = b.PeekLadder(ctx, b.ConsumerQueue("c"), 10)
	require.ErrorIs(t, err, holdfast.ErrInvalid)

	moved := 0
	eventually(t, "all of c's are moved", func() bool {
		counts, err := b.RetryLadder(ctx, queue, MaxLadder, "c", "nobody")
		require.NoError(t, err)
		require.Subset(t, []string{"c"}, keys(counts))
		moved += counts["c"]
		return moved == n
	})
	got := takeAll(t, b, b.ConsumerQueue("c"), n)
	ids := map[string]bool{}
	for _, d := range got {
		ids[d.MessageId] = true
		require.NotContains(t, d.Headers, wire.HeaderHops, "it is tried now")
		require.Equal(t, "2", d.Headers[wire.HeaderAttempts], "its tries count")
		require.Equal(t, "order.placed", d.Headers[wire.HeaderRoutingKey])
	}
	require.Len(t, ids, n)
	eventually(t, "the others' are as before", func() bool { return ready(t, b, queue) == n })
	require.Zero(t, ready(t, b, b.ConsumerQueue("other")))

	// What was looked at leaves its delay queue at its own time.
	onLadder(t, b, 2*time.Second, 1, "c")
	_, err = b.PeekLadder(ctx, b.RetryQueue(2*time.Second), 10)
	require.NoError(t, err)
	take(t, b, b.ConsumerQueue("c"))
}

func keys(m map[string]int) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}

// Whoever is killed while messages are moved loses none, and leaves two copies at most.
func TestLadderMoveThatIsCutOff(t *testing.T) {
	b, ctx := consuming(t)
	const delay, n = 18 * time.Minute, 20
	require.NoError(t, b.topo.DeclareConsumer(ctx, "c", wire.Bindings{Topics: []string{"order.*"}}, []time.Duration{delay}))
	onLadder(t, b, delay, n, "c")
	killed := open(t, b.o.URL, b.o.Prefix, nil)
	var once sync.Once
	fault.Set(func(name string) {
		if name == fault.RetryBeforeAck {
			once.Do(func() { cutConnections(killed) })
		}
	})
	defer fault.Set(nil)
	_, err := killed.RetryLadder(ctx, b.RetryQueue(delay), MaxLadder, "c")
	fault.Set(nil)
	require.Error(t, err)
	eventually(t, "those that were not taken out are there again",
		func() bool { return ready(t, b, b.RetryQueue(delay)) == n })
	eventually(t, "the rest is moved", func() bool {
		_, err := b.RetryLadder(ctx, b.RetryQueue(delay), MaxLadder, "c")
		require.NoError(t, err)
		return ready(t, b, b.RetryQueue(delay)) == 0
	})
	copies := map[string]int{}
	for range ready(t, b, b.ConsumerQueue("c")) {
		copies[take(t, b, b.ConsumerQueue("c")).MessageId]++
	}
	require.Len(t, copies, n, "none is lost")
}

// An open breaker tries a message when somebody asks for it, in whichever process.
func TestProbeNow(t *testing.T) {
	b, ctx := consuming(t)
	var events watched
	works := make(chan struct{})
	b.testConsumer(t, func(o *Subscription) {
		o.Tries, o.Observe, o.Ladder = 1, events.add, []time.Duration{time.Millisecond}
		o.Breaker = holdfast.BreakerOptions{Failures: 1, Pause: time.Hour}
	}, func(context.Context, Delivery) error {
		select {
		case <-works:
			return nil
		default:
			return Wait(errOops)
		}
	})
	publishTx(t, b, "a")
	is := func(state string) func() bool {
		return func() bool {
			return slices.ContainsFunc(events.of(EventBreaker), func(e Event) bool { return e.Breaker == state })
		}
	}
	eventually(t, "the breaker opens", is(wire.BreakerOpen))
	close(works)
	asker := open(t, b.o.URL, b.o.Prefix, nil)
	eventually(t, "a process does it", func() bool {
		answers, err := asker.Probe(ctx, 0, "c", "nobody")
		require.NoError(t, err)
		return len(answers) == 1
	})
	eventually(t, "the breaker closes", is(wire.BreakerClosed))
	_, err := asker.Probe(ctx, 0)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
}
