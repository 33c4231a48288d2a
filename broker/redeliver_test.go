package broker

import (
	"context"
	"errors"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// originalSum is a body's SHA-256 in hex.
const originalSum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

// deadLetters shows what comes to the queue of dead letters.
func deadLetters(t *testing.T, b *Broker) <-chan DeadRecord {
	t.Helper()
	records := make(chan DeadRecord, 100)
	takeOver(t, b, nil, func(_ context.Context, r DeadRecord) error { records <- r; return nil })
	return records
}

// A message is redelivered, dies again, and is handled at last; another consumer
// of its topic sees nothing of that.
func TestRedelivery(t *testing.T) {
	b, ctx := deadQueueOf(t)
	require.NoError(t, b.DeclareConsumer(ctx, "other", []string{"order.*"}))
	got := make(chan Delivery, 10)
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error {
		got <- d
		return holdfast.Permanent(errors.New("not yet"))
	})
	records := deadLetters(t, b)
	foreign := amqp.Publishing{MessageId: "m", ContentType: "text/plain", Body: []byte("x"), Priority: 3, CorrelationId: "corr",
		Headers: amqp.Table{"tenant": "north", "raw": []byte{0xff}, "n": int32(7)}}
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Publish(b.TopicsExchange(), "order.foreign", false, false, foreign))
	})
	first := next(t, got)
	require.Equal(t, "order.foreign", first.Message.Topic)
	letter := next(t, records).Letter
	require.Equal(t, 1, ready(t, b, b.ConsumerQueue("other")))

	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *letter, N: 1, Operator: "ada"}))
	again := next(t, got)
	require.Equal(t, first.Message, again.Message, "as it was")
	died := next(t, records).Letter
	require.Equal(t, letter.ID, died.ID)
	require.Equal(t, letter.Queue, died.Queue)
	require.Equal(t, 1, died.Failure.Redelivery)
	require.Equal(t, 1, died.Failure.Attempts, "counted anew")
	require.Equal(t, "order.foreign", died.Message.Topic)

	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *letter, N: 2, Operator: "ada", Edited: true, Body: []byte("y"), ContentType: "text/html", OriginalSHA256: originalSum}))
	edited := next(t, got).Message
	require.Equal(t, "y", string(edited.Body))
	require.Equal(t, "text/html", edited.ContentType)
	require.Equal(t, "m", edited.ID)
	died = next(t, records).Letter
	require.Equal(t, "ada", died.Envelope.Headers[wire.HeaderEditedBy])
	require.Equal(t, originalSum, died.Envelope.Headers[wire.HeaderOriginal])
	require.Equal(t, 2, died.Failure.Redelivery)
	require.Equal(t, 1, ready(t, b, b.ConsumerQueue("other")), "only its consumer gets it")
}

func TestRedeliveryIsTheMessageAsItWas(t *testing.T) {
	d := placed(func(d *amqp.Delivery) {
		d.Headers["raw"], d.Headers[wire.HeaderLog], d.Headers[wire.HeaderAttempts] = []byte{0xff}, "[]", "3"
		d.Expiration = "1000"
	})
	l := wire.Trust{Prefix: "holdfast"}.DecodeDead(delivered(wire.EncodeDead(d, wire.DeathOf("holdfast.q.c", "c", 3, errors.New("no"), deathTime))), deathTime)
	p := wire.EncodeRedelivery("holdfast", &wire.RedeliverRequest{Letter: l, N: 4})
	require.Equal(t, amqp.Table{"tenant": "north", wire.HeaderUser + "CC": "x", "raw": "\xff", wire.HeaderVersion: "1", wire.HeaderTx: "tx-1", wire.HeaderGroup: "orders",
		wire.HeaderTopic: "order.placed", wire.HeaderKey: "order-1", wire.HeaderExpiration: "1000", wire.HeaderRedelivery: "4",
		wire.HeaderExchange: "holdfast.topics", wire.HeaderRoutingKey: "order.placed"}, p.Headers)
	require.Equal(t, d.Priority, p.Priority)
	require.Equal(t, d.CorrelationId, p.CorrelationId)
	require.Equal(t, d.AppId, p.AppId)
	require.Equal(t, d.MessageId, p.MessageId)
	require.True(t, d.Timestamp.Equal(p.Timestamp))
	require.Empty(t, p.Expiration, "it would be dropped at once")
	require.Equal(t, d.Body, p.Body)
	before, _, _, err := wire.DecodeMessage(d)
	require.NoError(t, err)
	after, _, _, err := wire.DecodeMessage(delivered(p))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestRefusedRedeliveries(t *testing.T) {
	b, ctx := deadQueueOf(t)
	letter := func(change func(l *holdfast.DeadLetter)) holdfast.DeadLetter {
		d := placed(nil)
		l := wire.Trust{Prefix: b.o.Prefix}.DecodeDead(deliveredTo(b.o.Prefix, wire.EncodeDead(d, wire.DeathOf(b.ConsumerQueue("c"), "c", 3, errors.New("no"), deathTime))), deathTime)
		change(&l)
		return l
	}
	for name, c := range map[string]struct {
		r    wire.RedeliverRequest
		err  error
		says string
	}{
		"no number": {wire.RedeliverRequest{Letter: letter(func(*holdfast.DeadLetter) {}), N: 0}, holdfast.ErrInvalid, "number"},
		"kept": {wire.RedeliverRequest{Letter: letter(func(l *holdfast.DeadLetter) { l.Kept, l.Size = b.OversizedQueue(), 5_000_000 })},
			holdfast.ErrTooLarge, b.OversizedQueue() + ": move it from there to " + b.ConsumerQueue("c")},
		"no message-id": {wire.RedeliverRequest{Letter: letter(func(l *holdfast.DeadLetter) { l.Envelope.MessageID, l.Failure.Class = "", holdfast.ClassMalformed })},
			holdfast.ErrInvalid, "publish it anew"},
		"nobody's":      {wire.RedeliverRequest{Letter: letter(func(l *holdfast.DeadLetter) { l.Queue = b.DeadQueue() })}, holdfast.ErrInvalid, "nobody knows whom it is for"},
		"elsewhere":     {wire.RedeliverRequest{Letter: letter(func(l *holdfast.DeadLetter) { l.Queue = "shop.q.c" })}, holdfast.ErrInvalid, b.o.Prefix},
		"no operator":   {wire.RedeliverRequest{Letter: letter(func(*holdfast.DeadLetter) {}), Edited: true}, holdfast.ErrInvalid, "operator"},
		"no sum":        {wire.RedeliverRequest{Letter: letter(func(*holdfast.DeadLetter) {}), Edited: true, Operator: "ada"}, holdfast.ErrInvalid, "SHA-256"},
		"edited, large": {wire.RedeliverRequest{Letter: letter(func(*holdfast.DeadLetter) {}), Edited: true, Operator: "ada", OriginalSHA256: originalSum, Body: make([]byte, holdfast.MaxBody+1)}, holdfast.ErrTooLarge, "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "no number" {
				c.r.N = 1
			}
			err := b.Redeliver(ctx, c.r)
			require.ErrorIs(t, err, c.err)
			require.ErrorContains(t, err, c.says)
			require.True(t, holdfast.IsPermanent(err))
		})
	}
	gone := letter(func(l *holdfast.DeadLetter) { l.Queue, l.Failure.Consumer = b.ConsumerQueue("gone"), "gone" })
	err := b.Redeliver(ctx, wire.RedeliverRequest{Letter: gone, N: 1})
	require.ErrorIs(t, err, holdfast.ErrUnroutable)
	require.ErrorContains(t, err, b.ConsumerQueue("gone"))
	require.False(t, holdfast.IsPermanent(err), "start the consumer, and it works")
	require.Equal(t, -1, ready(t, b, b.ConsumerQueue("gone")), "it is not made by that")
	require.Zero(t, ready(t, b, b.ConsumerQueue("c")))
}

// A half record that could not be read goes back into the half queue; the Keeper
// reads what was redelivered when it comes, and answers once it can.
func TestRedeliveryOfAHalfRecord(t *testing.T) {
	b, ctx := deadQueueOf(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	k := keep(t, b, soon)
	records := deadLetters(t, b)
	good, err := wire.EncodeHalf(half("tx-h", "g"))
	require.NoError(t, err)
	bad := good
	bad.Body = []byte("{")
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Publish("", b.HalfQueue("g"), false, false, bad))
	})
	letter := next(t, records).Letter
	require.Equal(t, holdfast.ClassMalformed, letter.Failure.Class)
	require.Equal(t, b.HalfQueue("g"), letter.Queue)
	require.Equal(t, "tx-h", letter.ID)
	require.Equal(t, "g", letter.Group)
	require.Empty(t, letter.Failure.Consumer)
	eventually(t, "it is stored with the dead letters", func() bool { return k.now().Malformed == 1 })
	nothingHeld(t, b, k)

	k = keep(t, b, later)
	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *letter, N: 1}))
	died := next(t, records).Letter
	require.Equal(t, letter.ID, died.ID)
	require.Equal(t, 1, died.Failure.Redelivery)

	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *letter, N: 2, Operator: "ada", Edited: true, Body: good.Body, OriginalSHA256: originalSum}))
	require.Equal(t, &wire.HandledRecord{Queue: b.HalfQueue("g"), MessageID: "tx-h", Redelivery: 2}, next(t, records).Handled)
	eventually(t, "held", func() bool { return k.now().Held == 1 })
	b.Settle("g", "tx-h", holdfast.Commit)
	eventually(t, "matched", func() bool { return k.now().Matched == 1 })
	nothingHeld(t, b, k)
}
