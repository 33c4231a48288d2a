package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// limitQueue has RabbitMQ refuse what is more than n messages in a queue, until the
// returned function is called, which raises the limit: where it is removed, what moves
// the held messages goes on refusing in RabbitMQ 3.10.
func limitQueue(t *testing.T, queue string, n int) (lift func()) {
	t.Helper()
	s, name := stacktest.Shared(t), "limit-"+queue
	limit := func(n int) {
		stacktest.RabbitMQ(t, s, "rabbitmqctl", "-q", "set_policy", name, "^"+queue+"$", fmt.Sprintf(`{"max-length":%d}`, n), "--apply-to", "queues")
	}
	limit(n)
	t.Cleanup(func() { stacktest.RabbitMQ(t, s, "rabbitmqctl", "-q", "clear_policy", name) })
	return func() { limit(1_000_000) }
}

const (
	// longHeld is how long messages are held here, so that there is room when RabbitMQ
	// looks first.
	longHeld = 30 * time.Second
	// retriedAfter is more than the time until all have moved if there was none: RabbitMQ
	// tries one after three minutes, and the others after three more.
	retriedAfter = 15 * time.Minute
)

// fill publishes to a queue until it refuses.
func fill(t *testing.T, b *Broker, consumer string) {
	t.Helper()
	eventually(t, "the limit", func() bool {
		p := link.Publication{Exchange: b.QueuesExchange(), Key: b.ConsumerQueue(consumer), Mandatory: true, Once: true}
		return b.c.Pub.One(testContext(t), &p, "") != nil
	})
}

// A message that one consumer's queue refuses goes once more to each of the others, is
// held for that one, and gets there when there is room.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	var told refused
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.OnRefused = told.tell })
	b.c.Pub.RenewAfter = 0 // RabbitMQ's channels remember what refused
	b.topo.HeldFor = longHeld
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "full", []string{"order.#"}))
	require.NoError(t, b.DeclareConsumer(ctx, "well", []string{"order.*"}))
	require.NoError(t, b.DeclareConsumer(ctx, "other", []string{"else"}))
	lift := limitQueue(t, b.ConsumerQueue("full"), 2)
	fill(t, b, "full")

	const n = 20
	begin := time.Now()
	for i := range n {
		tx := fmt.Sprint("t", i)
		ms := messages(tx, "order.placed", 1)
		ms[0].TTL = time.Hour
		require.NoError(t, b.PublishMessages(ctx, "g", tx, ms))
	}
	t.Logf("%d messages in %v", n, time.Since(begin))
	require.LessOrEqual(t, ready(t, b, b.ConsumerQueue("well")), 2*n, "not again and again")
	require.Zero(t, ready(t, b, b.ConsumerQueue("other")))
	var got tally
	for _, d := range takeAll(t, b, b.ConsumerQueue("well"), ready(t, b, b.ConsumerQueue("well"))) {
		got.add(d.MessageId)
	}
	require.Equal(t, n, got.distinct())
	full := b.board.Status(wire.StatusRequest{}).Full
	require.Len(t, full, 1)
	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{N: 1, Letter: holdfast.DeadLetter{ID: "again", Queue: b.ConsumerQueue("full"), Message: messages("again", "order.placed", 1)[0],
		Envelope: holdfast.Envelope{MessageID: "again", Exchange: b.TopicsExchange(), RoutingKey: "order.placed"}}}), "what is for that queue alone waits there, too")
	require.Equal(t, wire.FullQueue{Queue: b.ConsumerQueue("full"), Consumer: "full", Refused: full[0].Refused, Held: n, Since: full[0].Since, Last: full[0].Last}, full[0])
	require.GreaterOrEqual(t, full[0].Refused, n)
	_, first := told.count(link.RefusedFull)
	require.Equal(t, 1, first, "people are told once")

	// There is room again: what was held comes as it was published.
	lift()
	var held tally
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, Subscription{Name: "full", Topics: []string{"order.#"}, Handle: func(_ context.Context, d Delivery) error {
			if d.Message.Topic == "order.placed" && (d.Message.TTL == time.Hour) == (d.Message.ID != "again") && string(d.Message.Body) == string(messages(d.Message.ID, "", 1)[0].Body) {
				held.add(d.Message.ID)
			}
			return nil
		}})
	})
	require.Eventually(t, func() bool { return held.distinct() == n+1 }, retriedAfter, 10*time.Millisecond, "all that was held")
	ctx = testContext(t)
	require.NoError(t, b.PublishMessages(ctx, "g", "last", messages("last", "order.placed", 1)))
	require.Empty(t, b.board.Status(wire.StatusRequest{}).Full)
}

// Compensation notices go the same way, and stay what they are.
func TestFullQueueOfNotices(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	b.topo.HeldFor = longHeld
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "full", []string{"x"}, "order.placed"))
	lift := limitQueue(t, b.ConsumerQueue("full"), 1)
	fill(t, b, "full")
	m := messages("t", "order.placed", 1)[0]
	require.NoError(t, b.PublishCompensated(ctx, holdfast.DeadLetter{ID: "t", TxID: "t", Group: "g", Message: m, Queue: b.ConsumerQueue("full")}))
	lift()
	notices := make(chan *wire.Notice, 10)
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, Subscription{Name: "full", Topics: []string{"x"}, Notices: []string{"order.placed"}, Handle: func(_ context.Context, d Delivery) error {
			if d.Notice != nil {
				notices <- d.Notice
			}
			return nil
		}})
	})
	select {
	case n := <-notices:
		require.Equal(t, "t", n.Of)
	case <-time.After(retriedAfter):
		require.Fail(t, "it was not held")
	}
}

// A queue that nobody knows refuses: the others get the message once, or a few times
// where it is the first one, and the caller is told at once.
func TestUnknownFullQueue(t *testing.T) {
	t.Parallel()
	url, prefix := stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t)
	other := open(t, url, prefix, nil)
	b := open(t, url, prefix, nil)
	ctx := testContext(t)
	require.NoError(t, other.DeclareConsumer(ctx, "full", []string{"order.#"}))
	require.NoError(t, b.DeclareConsumer(ctx, "well", []string{"order.*"}))
	limitQueue(t, b.ConsumerQueue("full"), 2)
	fill(t, b, "full")
	for i := range 10 {
		tx := fmt.Sprint("t", i)
		err := b.PublishMessages(ctx, "g", tx, messages(tx, "order.placed", 1))
		require.ErrorIs(t, err, holdfast.ErrQueueFull)
		require.ErrorContains(t, err, "order.placed")
	}
	require.LessOrEqual(t, ready(t, b, b.ConsumerQueue("well")), 3+9)
	require.Equal(t, "order.placed", b.board.Status(wire.StatusRequest{}).Full[0].Topic)
}
