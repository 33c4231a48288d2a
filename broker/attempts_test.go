package broker

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

func TestAttemptsInHeaders(t *testing.T) {
	require.Zero(t, wire.ReadAttempts(nil))
	require.Equal(t, wire.Attempts{Failed: 4, Lost: 2, Hops: 7, Redelivery: 1}, wire.ReadAttempts(amqp.Table{
		wire.HeaderAttempts: "4", wire.HeaderLost: []byte("2"), wire.HeaderHops: int32(7), wire.HeaderRedelivery: int64(1)}))
	require.Equal(t, wire.Attempts{Hops: wire.MaxCount}, wire.ReadAttempts(amqp.Table{
		wire.HeaderAttempts: "-4", wire.HeaderLost: "many", wire.HeaderHops: "99999999", wire.HeaderRedelivery: "99999999999999999999999"}))
}

func TestLogIsBounded(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var log []holdfast.Attempt
	for range 30 {
		log = wire.Logged(log, 1, holdfast.ClassError, strings.Repeat("\"\\", 1000)+"\x00\u2028<", at)
	}
	var numbers []int
	for _, a := range log {
		numbers = append(numbers, a.N)
		require.LessOrEqual(t, len(a.Error), wire.MaxLogError)
	}
	require.Equal(t, []int{1, 2, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30}, numbers)
	text := wire.EncodeLog(log)
	require.Less(t, len(text), 10<<10)
	require.Equal(t, log, wire.ReadLog(amqp.Table{wire.HeaderLog: text}))
	require.Nil(t, wire.ReadLog(amqp.Table{wire.HeaderLog: "nonsense"}))
	require.Nil(t, wire.ReadLog(nil))
	require.Equal(t, 3, wire.Logged(nil, 3, holdfast.ClassLost, "x", at)[0].N, "of a log that is gone")
	require.Equal(t, "a  b<", wire.OneLine("a\n\tb<", 100))
}

func TestRetryRecord(t *testing.T) {
	d := amqp.Delivery{MessageId: "m", Body: []byte("b"), ContentType: "text/plain", ContentEncoding: "gzip", Exchange: "x", RoutingKey: "order.placed",
		CorrelationId: "c", ReplyTo: "r", Type: "t", AppId: "a", Expiration: "1000", UserId: "guest", Priority: 3, Timestamp: time.Unix(7, 0),
		Headers: amqp.Table{"n": int32(1), "CC": []any{"elsewhere"}, wire.HeaderRedelivery: "2",
			"x-death": []any{amqp.Table{"count": int64(1)}}, "x-first-death-queue": "q", "x-last-death-reason": "expired",
			"x-delivery-count": int64(3), "x-acquired-count": int64(3), "x-mine": "y"}}
	log := wire.Logged(nil, 1, holdfast.ClassError, "oops", time.Unix(8, 0))
	msg, ok := wire.EncodeRetry(&d, "bill", wire.Failure{Attempts: wire.Attempts{Failed: 3, Lost: 1, Hops: 2, Redelivery: 2}, Log: log, Class: holdfast.ClassError, Reason: "oops\n"})
	require.True(t, ok)
	want := amqp.Table{"n": int32(1), "holdfast-header-CC": []any{"elsewhere"}, "x-mine": "y", wire.HeaderRedelivery: "2",
		wire.HeaderExchange: "x", wire.HeaderRoutingKey: "order.placed", wire.HeaderExpiration: "1000", wire.HeaderUserID: "guest",
		wire.HeaderConsumer: "bill", wire.HeaderAttempts: "3", wire.HeaderLost: "1", wire.HeaderHops: "2", wire.HeaderErrorClass: "error", wire.HeaderReason: "oops ",
		wire.HeaderLog: `[{"n":1,"at":"1970-01-01T00:00:08Z","class":"error","error":"oops"}]`}
	require.Equal(t, want, msg.Headers)
	require.Equal(t, amqp.Publishing{Headers: msg.Headers, MessageId: "m", Body: []byte("b"), ContentType: "text/plain", ContentEncoding: "gzip",
		CorrelationId: "c", ReplyTo: "r", Type: "t", AppId: "a", Priority: 3, Timestamp: time.Unix(7, 0)}, msg)

	// The next retry keeps what the first one wrote down of the original.
	next := asDelivered(msg, "holdfast.retry", "holdfast.q.bill")
	again, ok := wire.EncodeRetry(&next, "bill", wire.Failure{Attempts: wire.Attempts{Failed: 4}, Log: log, Class: holdfast.ClassPanic})
	require.True(t, ok)
	require.Equal(t, "order.placed", again.Headers[wire.HeaderRoutingKey])
	require.Equal(t, "x", again.Headers[wire.HeaderExchange])
	require.Equal(t, "4", again.Headers[wire.HeaderAttempts])
	require.NotContains(t, again.Headers, wire.HeaderLost)
	require.NotContains(t, again.Headers, wire.HeaderHops)
	m, _, _, err := wire.DecodeMessage(&next)
	require.NoError(t, err)
	require.Equal(t, "order.placed", m.Topic, "not the queue's name")
	require.Equal(t, "1", m.Headers["n"])
	require.NotContains(t, m.Headers, "x-death")

	// And so does its death.
	p := wire.EncodeDead(&next, wire.Death{Failure: wire.Failure{Attempts: wire.Attempts{Failed: 5, Lost: 3}, Log: log, Class: holdfast.ClassLost, Reason: "gone"},
		Queue: "holdfast.q.bill", Consumer: "bill", At: time.Unix(9, 0),
		Policy: holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: make([]time.Duration, 60)}})
	require.Equal(t, "order.placed", p.Headers[wire.HeaderRoutingKey])
	require.Equal(t, "1000", p.Headers[wire.HeaderExpiration])
	require.Equal(t, "8", p.Headers[wire.HeaderAttempts])
	require.Equal(t, "3", p.Headers[wire.HeaderLost])
	require.NotContains(t, p.Headers, wire.HeaderHops)
	require.True(t, json.Valid([]byte(p.Headers[wire.HeaderPolicy].(string))), "not clipped")
	require.NotContains(t, wire.EncodeDead(&next, wire.Death{}).Headers, wire.HeaderLog)
}

// A message published to the default exchange, or without a routing key, must
// not look as if its first retry were the original.
func TestFirstRoutingKeyIsKept(t *testing.T) {
	d := amqp.Delivery{MessageId: "m"}
	msg := wire.CopyOf(&d)
	next := asDelivered(msg, "holdfast.retry", "holdfast.q.bill")
	require.Empty(t, wire.CopyOf(&next).Headers[wire.HeaderRoutingKey])
	require.NotContains(t, wire.CopyOf(&next).Headers, wire.HeaderExchange)
}

func TestRetryThatDoesNotFitTheFrame(t *testing.T) {
	for size, want := range map[int]bool{100 << 10: true, 125 << 10: false} {
		d := amqp.Delivery{MessageId: "m", Headers: amqp.Table{"big": strings.Repeat("x", size)}}
		_, ok := wire.EncodeRetry(&d, "c", wire.Failure{})
		require.Equal(t, want, ok, strconv.Itoa(size))
	}
}

// A list of small numbers is several times as long in its frame as its text: a
// copy that is too large for a frame would end the connection, at every try.
func TestSizeOfHeadersInTheirFrame(t *testing.T) {
	b, ctx := consuming(t)
	numbers := make([]any, 8_000)
	for i := range numbers {
		numbers[i] = int64(1)
	}
	nested := amqp.Table{"a": []any{true, nil, int8(1), int16(1), int32(1), int64(1), 1.5, "text", []byte("raw"), time.Unix(1, 0), amqp.Decimal{Value: 15, Scale: 1}}}
	b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(1) }, func(context.Context, Delivery) error { return errors.New(strings.Repeat("x", wire.MaxReason)) })
	before, err := b.c.Publishing.Get(ctx)
	require.NoError(t, err)
	publishRaw(t, b, b.QueuesExchange(), b.ConsumerQueue("c"), amqp.Publishing{MessageId: "m", Headers: amqp.Table{"numbers": numbers, "nested": nested,
		"text": strings.Repeat("y", 55<<10)}})
	d := take(t, b, b.DeadQueue())
	require.Equal(t, "m", d.MessageId)
	require.Contains(t, d.Headers, "nested")
	require.Equal(t, "[numbers]", d.Headers[wire.HeaderCut])
	after, err := b.c.Publishing.Get(ctx)
	require.NoError(t, err)
	require.Same(t, before, after, "the connection was lost")
}
