package broker

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestNoticeToAConsumerThatIsGone: in a rolling upgrade, too, that nobody listens is no error.
func TestNoticeToAConsumerThatIsGone(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.RollingUpgrade = true })
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	require.NoError(t, b.PublishCompensated(ctx, holdfast.DeadLetter{ID: "tx-1", TxID: "tx-1", Group: "g", Queue: b.ConsumerQueue("nobody"),
		Message: holdfast.Message{ID: "tx-1", Topic: "order.placed", Body: []byte("x")}}))
}

func TestCompensationNotice(t *testing.T) {
	b, ctx := deadQueueOf(t)
	l := wire.Trust{Prefix: b.o.Prefix}.DecodeDead(deliveredTo(b.o.Prefix, wire.EncodeDead(placed(nil), wire.DeathOf(b.ConsumerQueue("c"), "c", 3, holdfast.Permanent(errors.New("no such order")), deathTime))), deathTime)
	gone := l
	gone.Queue = b.ConsumerQueue("nobody")
	require.NoError(t, b.PublishCompensated(ctx, gone), "nobody listens, and that is no error")

	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.*.compensated"}))
	got := make(chan Delivery, 10)
	var failed atomic.Bool
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error {
		if got <- d; d.Notice != nil && failed.CompareAndSwap(false, true) {
			return holdfast.Permanent(errors.New("the notice's own failure"))
		}
		return nil
	})
	require.NoError(t, b.PublishCompensated(ctx, l))
	d := next(t, got)
	require.Equal(t, &wire.Notice{Of: "tx-1", Topic: "order.placed", Failure: holdfast.Failure{Consumer: "c", Class: holdfast.ClassPermanent, Reason: "no such order"}}, d.Notice)
	require.Equal(t, holdfast.Message{ID: "tx-1.compensated", Topic: "order.placed.compensated", Key: "order-1", ContentType: "text/plain",
		Headers: map[string]string{"tenant": "north", "CC": "x"}, Body: []byte("hello"),
		CorrelationID: "corr", AppID: "shop", Priority: 3}, d.Message)
	require.Equal(t, "tx-1", d.TxID)
	require.Equal(t, "orders", d.Group)
	require.Equal(t, d.Message, next(t, got).Message, "who gave the message up is told directly, too")

	// A notice that died is a notice still when it is redelivered.
	records := deadLetters(t, b)
	died := next(t, records).Letter
	require.Equal(t, "tx-1.compensated", died.ID)
	require.Equal(t, "the notice's own failure", died.Failure.Reason)
	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *died, N: 1}))
	again := next(t, got)
	require.Equal(t, d.Notice, again.Notice)
	require.Equal(t, d.Message, again.Message)

	publishTx(t, b, "plain")
	require.Nil(t, next(t, got).Notice)
}

func TestNoticesThatCannotBe(t *testing.T) {
	b, ctx := deadQueueOf(t)
	l := wire.Trust{Prefix: b.o.Prefix}.DecodeDead(placed(nil), deathTime)
	for name, c := range map[string]struct {
		change func(l *holdfast.DeadLetter)
		err    error
		says   string
	}{
		"topic":    {func(l *holdfast.DeadLetter) { l.Message.Topic = strings.Repeat("t", 244) }, holdfast.ErrInvalid, "shorter topic"},
		"no topic": {func(l *holdfast.DeadLetter) { l.Message.Topic = "" }, holdfast.ErrInvalid, "no topic"},
		"kept":     {func(l *holdfast.DeadLetter) { l.Kept = b.OversizedQueue() }, holdfast.ErrTooLarge, b.OversizedQueue()},
	} {
		t.Run(name, func(t *testing.T) {
			bad := l
			c.change(&bad)
			err := b.PublishCompensated(ctx, bad)
			require.ErrorIs(t, err, c.err)
			require.ErrorContains(t, err, c.says)
			require.True(t, holdfast.IsPermanent(err))
		})
	}
	// A foreign message belongs to no transaction.
	l.TxID, l.Group = "", ""
	p := wire.EncodeNotice(&l)
	require.NotContains(t, p.Headers, wire.HeaderTx)
	require.NotContains(t, p.Headers, wire.HeaderGroup)
	l.ID = strings.Repeat("x", 255)
	require.Regexp(t, "^sha256-", wire.EncodeNotice(&l).MessageId)

	for name, d := range map[string]*amqp.Delivery{
		"of nothing":  {Headers: amqp.Table{wire.HeaderKind: wire.KindCompensated, wire.HeaderTopic: "a.compensated"}},
		"wrong topic": {Headers: amqp.Table{wire.HeaderKind: wire.KindCompensated, wire.HeaderOf: "m", wire.HeaderTopic: "a"}},
		"only that":   {Headers: amqp.Table{wire.HeaderKind: wire.KindCompensated, wire.HeaderOf: "m", wire.HeaderTopic: ".compensated"}},
	} {
		_, err := wire.DecodeNotice(d, wire.HeaderText(d.Headers[wire.HeaderTopic]))
		require.ErrorIs(t, err, holdfast.ErrMalformed, name)
	}
}
