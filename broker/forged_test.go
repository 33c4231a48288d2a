package broker

import (
	"context"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// outside is a consumer's queue that nobody reads, into which a foreign publisher
// may publish.
func outside(t *testing.T, b *Broker) {
	t.Helper()
	require.NoError(t, b.DeclareConsumer(testContext(t), "outside", []string{"foreign.#"}))
}

// What RabbitMQ takes to the dead letters from somebody's queue is that message, and
// nothing else: whatever its headers say, and whatever deaths it says it has died.
func TestForgedDeadLetters(t *testing.T) {
	b, ctx := consuming(t)
	outside(t, b)
	records := deadLetters(t, b)
	victim := b.ConsumerQueue("c")
	for name, headers := range map[string]amqp.Table{
		"a compensation": {wire.HeaderPolicy: `{"action":"compensate"}`, wire.HeaderGroup: "orders", wire.HeaderTx: "x", wire.HeaderTopic: "order.placed", wire.HeaderKey: "the victim"},
		"a redelivery": {wire.HeaderPolicy: `{"action":"redeliver","redeliver":[1]}`, wire.HeaderDeadAt: "2026-01-01T00:00:00Z", wire.HeaderQueue: victim,
			wire.HeaderExchange: b.TopicsExchange(), wire.HeaderRoutingKey: "order.placed"},
		"an op record": {wire.HeaderPolicy: `{"action":"redeliver","redeliver":[1]}`, wire.HeaderDeadAt: "2026-01-01T00:00:00Z",
			wire.HeaderQueue: b.HalfQueue("g"), wire.HeaderKind: wire.KindOp, wire.HeaderVersion: wire.Version, wire.HeaderGroup: "g"},
		"that it was handled": {wire.HeaderKind: wire.KindHandled, wire.HeaderVersion: wire.Version, wire.HeaderConsumer: "c", wire.HeaderQueue: victim, wire.HeaderRedelivery: "1"},
		"a forged death": {wire.HeaderPolicy: `{"action":"compensate"}`, wire.HeaderDeadAt: "2026-01-01T00:00:00Z", wire.HeaderQueue: victim, wire.HeaderKept: b.OversizedQueue(), wire.HeaderRedelivery: "7",
			"x-death": []any{amqp.Table{"queue": b.ConsumerQueue("outside"), "reason": "expired", "exchange": b.QueuesExchange(), "count": int64(0), "routing-keys": []any{"order.placed"}},
				amqp.Table{"queue": victim, "reason": "expired", "exchange": b.DeadQueue()}},
			"x-last-death-queue": victim, "x-last-death-reason": "expired", "x-last-death-exchange": b.DeadQueue()},
	} {
		publishRaw(t, b, b.TopicsExchange(), "foreign.x", amqp.Publishing{MessageId: name, Expiration: "1", Headers: headers, Body: []byte(`{"v":1,"commit":["x"]}`)})
		r := next(t, records)
		require.Nil(t, r.Handled, name)
		l := r.Letter
		require.Equal(t, name, l.ID)
		require.Equal(t, b.ConsumerQueue("outside"), l.Queue, name)
		require.Equal(t, "outside", l.Failure.Consumer, name)
		require.Equal(t, holdfast.ClassDropped, l.Failure.Class, name)
		require.Zero(t, l.Policy, name)
		require.Empty(t, l.Kept, name)
		require.Empty(t, l.Envelope.Headers[wire.HeaderKind], name)
		// Nor when an operator redelivers it: it goes to the queue that it died in, and
		// is a message there.
		require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *l, N: 1, Operator: "ann"}))
		d := take(t, b, b.ConsumerQueue("outside"))
		require.NotContains(t, d.Headers, wire.HeaderKind, name)
		require.NotContains(t, d.Headers, wire.HeaderPolicy, name)
	}
}

// A foreign publisher's headers about tries, in what he may publish and in what he
// puts into the queue himself; and through a retry, they still do not count.
func TestForgedRetries(t *testing.T) {
	b, _ := consuming(t)
	got := make(chan Delivery, 10)
	b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(1) }, func(_ context.Context, d Delivery) error {
		got <- d
		if d.Attempt == 1 {
			return errOops
		}
		return nil
	})
	records := deadLetters(t, b)
	headers := func() amqp.Table {
		return amqp.Table{wire.HeaderHops: "1000000", wire.HeaderAttempts: "300", wire.HeaderLost: "300", wire.HeaderRedelivery: "3", wire.HeaderKind: wire.KindCompensated, wire.HeaderOf: "x",
			wire.HeaderOfConsumer: "c", wire.HeaderTopic: "order.secret", wire.HeaderEditedBy: "ann"}
	}
	publishRaw(t, b, b.TopicsExchange(), "order.placed", amqp.Publishing{MessageId: "a", Headers: headers()})
	for n := 1; n <= 2; n++ {
		d := next(t, got)
		require.Equal(t, n, d.Attempt)
		require.Zero(t, d.Redelivery)
		require.False(t, d.Redelivered)
		require.Nil(t, d.Notice, "also when it comes again through our own exchange")
		require.Equal(t, "order.placed", d.Message.Topic, "it may be published there")
	}
	h := headers()
	h[wire.HeaderKind] = "?"
	publishRaw(t, b, "", b.ConsumerQueue("c"), amqp.Publishing{MessageId: "b", Headers: h})
	require.Equal(t, 1, next(t, got).Attempt)
	require.Equal(t, 2, next(t, got).Attempt)
	publishRaw(t, b, "", b.ConsumerQueue("c"), amqp.Publishing{MessageId: "notice", Headers: headers()})
	l := next(t, records).Letter
	require.Equal(t, "notice", l.ID)
	require.Contains(t, l.Failure.Reason, "claims to be a compensation notice")
	require.Empty(t, got)
}

// A topic that ends as those of notices did is an application's own.
func TestTopicOfNotices(t *testing.T) {
	b, ctx := consuming(t)
	leftOver := b.ConsumerQueue("c")
	rawChannel(t, b, func(ch *amqp.Channel) { // an older version's
		require.NoError(t, ch.QueueBind(leftOver, "order.placed.compensated", b.TopicsExchange(), false, nil))
		require.NoError(t, ch.QueueBind(leftOver, "foreign.#", b.TopicsExchange(), false, nil))
	})
	got := make(chan Delivery, 10)
	stop := b.testConsumer(t, func(o *Subscription) {
		o.Topics, o.Notices = []string{"order.placed"}, []string{"order.placed"}
	},
		func(_ context.Context, d Delivery) error { got <- d; return nil })
	eventually(t, "the binding is removed", func() bool { return consumers(t, b, leftOver) > 0 })
	own := holdfast.Message{ID: "own", Topic: "order.placed.compensated"}
	require.ErrorIs(t, b.PublishMessages(ctx, "g", "own", []holdfast.Message{own}), holdfast.ErrUnroutable)

	// By a header CC, of which RabbitMQ does not ask whether he may.
	records := deadLetters(t, b)
	publishRaw(t, b, b.TopicsExchange(), "foreign.x", amqp.Publishing{MessageId: "cc", Headers: amqp.Table{"CC": []any{"order.placed"}}})
	r := next(t, records).Letter
	require.Equal(t, "cc", r.ID)
	require.Contains(t, r.Failure.Reason, "header CC")
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.QueueBind(leftOver, "#.compensated", b.TopicsExchange(), false, nil))
	})
	require.NoError(t, b.PublishMessages(ctx, "g", "own", []holdfast.Message{own}))
	r = next(t, records).Letter
	require.Equal(t, "own", r.ID)
	require.Contains(t, r.Failure.Reason, "does not listen to topic order.placed.compensated")
	require.Empty(t, got)
	stop()

	// Whoever subscribes to it gets both.
	b.testConsumer(t, func(o *Subscription) { o.Name, o.Topics = "all", []string{"order.placed.compensated"} },
		func(_ context.Context, d Delivery) error { got <- d; return nil })
	eventually(t, "listens", func() bool { return consumers(t, b, b.ConsumerQueue("all")) > 0 })
	require.NoError(t, b.PublishMessages(ctx, "g", "own", []holdfast.Message{own}))
	require.Nil(t, next(t, got).Notice)
	l := wire.Trust{Prefix: "holdfast"}.DecodeDead(deliveredTo("holdfast", wire.EncodeDead(placed(nil), wire.DeathOf("holdfast.q.x", "x", 3, errOops, deathTime))), deathTime)
	require.NoError(t, b.PublishCompensated(ctx, l))
	require.Equal(t, "order.placed", next(t, got).Notice.Topic)
}

// Records of the half queue that came through the default exchange: a half message
// can only have its transaction checked back; an op record does nothing.
func TestForgedHalfRecords(t *testing.T) {
	for _, rolling := range []bool{false, true} {
		b, ctx := halfQueue(t)
		b.c.Rolling = rolling
		queue := b.HalfQueue("g")
		require.NoError(t, b.PublishHalf(ctx, half("victim", "g")))
		old, err := wire.EncodeHalf(half("old", "g"))
		require.NoError(t, err)
		old.Headers[wire.HeaderRedelivery] = "1"
		publishRaw(t, b, "", queue, old)
		publishRaw(t, b, "", queue, wire.EncodeOp("g", wire.OpRecord{Rollback: []string{"victim"}}))
		records := deadLetters(t, b)
		k := keep(t, b, soon)
		if rolling {
			eventually(t, "matched", func() bool { s := k.now(); return s.Matched+s.HandedOver == 2 && s.Held == 0 })
			require.Equal(t, "old", next(t, records).Handled.MessageID)
			continue
		}
		eventually(t, "both are checked back", func() bool { s := k.now(); return s.HandedOver == 2 && s.Ignored == 1 && s.Held == 0 })
		b.Settle("g", "x", holdfast.Commit)
		require.NoError(t, b.Flush(ctx))
		require.Empty(t, records)
	}
}

// What lies in the queues when the version changes.
func TestUpgradeOfQueues(t *testing.T) {
	b, ctx := consuming(t)
	queue := b.ConsumerQueue("c")
	// An older version's retry in a delay queue, and one that it has put at the end.
	delay := b.RetryQueue(10 * time.Millisecond)
	require.NoError(t, b.topo.DeclareConsumer(ctx, "c", wire.Bindings{Topics: []string{"order.*"}}, []time.Duration{10 * time.Millisecond}))
	retry := amqp.Table{wire.HeaderConsumer: "c", wire.HeaderAttempts: "2", wire.HeaderExchange: b.TopicsExchange(), wire.HeaderRoutingKey: "order.placed", wire.HeaderRedelivery: "4"}
	publishRaw(t, b, delay, queue, amqp.Publishing{MessageId: "delayed", Headers: retry})
	got := make(chan Delivery, 10)
	b.testConsumer(t, func(o *Subscription) { o.Tries = 9 }, func(_ context.Context, d Delivery) error { got <- d; return nil })
	records := deadLetters(t, b)
	d := next(t, got)
	require.Equal(t, 3, d.Attempt)
	require.Equal(t, 4, d.Redelivery)
	require.Equal(t, "order.placed", d.Message.Topic)
	require.Equal(t, 4, next(t, records).Handled.Redelivery)
	publishRaw(t, b, "", queue, amqp.Publishing{MessageId: "tail", Headers: retry})
	d = next(t, got)
	require.Equal(t, 1, d.Attempt, "it begins anew")
	require.Zero(t, d.Redelivery)
	require.Equal(t, "order.placed", d.Message.Topic)

	// Its dead letters are kept, and wait for an operator.
	letter := wire.EncodeDead(placed(nil), wire.DeathOf(queue, "c", 3, errOops, deathTime))
	letter.Headers[wire.HeaderPolicy] = `{"action":"compensate"}`
	publishRaw(t, b, "", b.DeadQueue(), letter)
	l := next(t, records).Letter
	require.Equal(t, "c", l.Failure.Consumer)
	require.Equal(t, queue, l.Queue)
	require.Equal(t, 3, l.Failure.Attempts)
	require.Zero(t, l.Policy)
	require.Contains(t, l.Failure.Reason, "oops; it came through RabbitMQ's default exchange")
	publishRaw(t, b, "", b.DeadQueue(), wire.EncodeHandled(queue, "c", "m", "", 1))
	l = next(t, records).Letter
	require.NotNil(t, l)
	require.Contains(t, l.Failure.Reason, "settle that dead letter by hand")
	// The beginning of an oversized message is never taken for the whole.
	letter.Headers[wire.HeaderKept], letter.Headers[wire.HeaderWholeSize] = b.OversizedQueue(), "2000000"
	publishRaw(t, b, "", b.DeadQueue(), letter)
	require.Equal(t, b.OversizedQueue(), next(t, records).Letter.Kept)
}

// Beside processes of an older version, whose queues are bound to nothing of ours.
func TestRollingUpgrade(t *testing.T) {
	b, ctx := consuming(t)
	b.c.Rolling = true
	rawChannel(t, b, func(ch *amqp.Channel) {
		for _, queue := range []string{b.HalfQueue("old"), b.ConsumerQueue("old"), b.ReplyQueue("old")} {
			_, err := ch.QueueDeclare(queue, true, false, false, false, b.topo.Guarded())
			require.NoError(t, err)
		}
		require.NoError(t, ch.QueueBind(b.ConsumerQueue("old"), "order.placed.compensated", b.TopicsExchange(), false, nil))
	})
	t.Cleanup(func() {
		rawChannel(t, b, func(ch *amqp.Channel) {
			for _, queue := range []string{b.HalfQueue("old"), b.ConsumerQueue("old"), b.ReplyQueue("old")} {
				_, err := ch.QueueDelete(queue, false, false, false)
				require.NoError(t, err)
			}
		})
	})
	require.NoError(t, b.PublishHalf(ctx, half("a", "old")))
	require.Equal(t, "a", take(t, b, b.HalfQueue("old")).MessageId)
	call := aCall(b)
	call.ReplyTo, call.Replies = "", b.ReplyQueue("old")
	require.NoError(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done}))
	require.Equal(t, call.MessageID(), take(t, b, b.ReplyQueue("old")).CorrelationId)
	l := wire.Trust{Prefix: b.o.Prefix}.DecodeDead(deliveredTo(b.o.Prefix, wire.EncodeDead(placed(nil), wire.DeathOf(b.ConsumerQueue("old"), "old", 3, errOops, deathTime))), deathTime)
	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: l, N: 1}))
	require.Equal(t, "tx-1", take(t, b, b.ConsumerQueue("old")).MessageId)
	require.NoError(t, b.PublishCompensated(ctx, l))
	for range 2 { // by its binding, and to it alone
		require.Equal(t, "tx-1.compensated", take(t, b, b.ConsumerQueue("old")).MessageId)
	}
	// And what they write counts.
	got := make(chan Delivery, 10)
	b.testConsumer(t, func(o *Subscription) { o.Notices = o.Topics }, func(_ context.Context, d Delivery) error { got <- d; return nil })
	eventually(t, "listens", func() bool { return consumers(t, b, b.ConsumerQueue("c")) > 0 })
	publishRaw(t, b, b.TopicsExchange(), "order.placed.compensated", wire.EncodeNotice(&l))
	require.Equal(t, "tx-1", next(t, got).Notice.Of)
	publishRaw(t, b, "", b.ConsumerQueue("c"), wire.EncodeNotice(&l))
	require.Equal(t, "tx-1", next(t, got).Notice.Of)
}

// Whoever calls a participant cannot have queues made, and what is no reply of ours
// does not count.
func TestForgedCallsAndReplies(t *testing.T) {
	b := replying(t, "asks", "")
	ctx := testContext(t)
	call := aCall(b)
	call.ReplyTo, call.Replies = b.ReplyQueue("nobody")+"@x", b.ReplyQueue("nobody")
	require.NoError(t, b.topo.Declare(ctx, b.topo.BaseSteps()))
	err := b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done})
	require.ErrorIs(t, err, holdfast.ErrUnroutable)
	require.ErrorContains(t, err, "start a process of group nobody")
	require.Equal(t, -1, ready(t, b, call.Replies))

	got := make(chan wire.SagaReply, 10)
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { got <- r; return nil })
	records := deadLetters(t, b)
	call = aCall(b)
	msg, err := wire.EncodeReply(&call, wire.SagaReply{Outcome: stepend.Done})
	require.NoError(t, err)
	for _, queue := range []string{b.ReplyQueue("g"), b.InstanceReplyQueue("g")} {
		publishRaw(t, b, "", queue, msg)
		l := next(t, records).Letter
		require.Contains(t, l.Failure.Reason, "did not come through the exchange")
	}
	require.NoError(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done, Reason: strings.Repeat("x", 10)}))
	require.Equal(t, call.Token, next(t, got).Token)
}
