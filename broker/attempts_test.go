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
)

func TestAttemptsInHeaders(t *testing.T) {
	require.Zero(t, readAttempts(nil))
	require.Equal(t, attempts{failed: 4, lost: 2, hops: 7, redelivery: 1}, readAttempts(amqp.Table{
		headerAttempts: "4", headerLost: []byte("2"), headerHops: int32(7), headerRedelivery: int64(1)}))
	require.Equal(t, attempts{hops: maxCount}, readAttempts(amqp.Table{
		headerAttempts: "-4", headerLost: "many", headerHops: "99999999", headerRedelivery: "99999999999999999999999"}))
}

func TestLogIsBounded(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var log []holdfast.Attempt
	for range 30 {
		log = logged(log, 1, holdfast.ClassError, strings.Repeat("\"\\", 1000)+"\x00\u2028<", at)
	}
	var numbers []int
	for _, a := range log {
		numbers = append(numbers, a.N)
		require.LessOrEqual(t, len(a.Error), maxLogError)
	}
	require.Equal(t, []int{1, 2, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30}, numbers)
	text := encodeLog(log)
	require.Less(t, len(text), 10<<10)
	require.Equal(t, log, readLog(amqp.Table{headerLog: text}))
	require.Nil(t, readLog(amqp.Table{headerLog: "nonsense"}))
	require.Nil(t, readLog(nil))
	require.Equal(t, 3, logged(nil, 3, holdfast.ClassLost, "x", at)[0].N, "of a log that is gone")
	require.Equal(t, "a  b<", oneLine("a\n\tb<", 100))
}

func TestRetryRecord(t *testing.T) {
	d := amqp.Delivery{MessageId: "m", Body: []byte("b"), ContentType: "text/plain", ContentEncoding: "gzip", Exchange: "x", RoutingKey: "order.placed",
		CorrelationId: "c", ReplyTo: "r", Type: "t", AppId: "a", Expiration: "1000", UserId: "guest", Priority: 3, Timestamp: time.Unix(7, 0),
		Headers: amqp.Table{"n": int32(1), "CC": []any{"elsewhere"}, headerRedelivery: "2",
			"x-death": []any{amqp.Table{"count": int64(1)}}, "x-first-death-queue": "q", "x-last-death-reason": "expired",
			"x-delivery-count": int64(3), "x-acquired-count": int64(3), "x-mine": "y"}}
	log := logged(nil, 1, holdfast.ClassError, "oops", time.Unix(8, 0))
	msg, ok := retryOf(&d, "bill", failure{attempts: attempts{failed: 3, lost: 1, hops: 2, redelivery: 2}, log: log, class: holdfast.ClassError, reason: "oops\n"})
	require.True(t, ok)
	want := amqp.Table{"n": int32(1), "holdfast-header-CC": []any{"elsewhere"}, "x-mine": "y", headerRedelivery: "2",
		headerExchange: "x", headerRoutingKey: "order.placed", headerExpiration: "1000", headerUserID: "guest",
		headerConsumer: "bill", headerAttempts: "3", headerLost: "1", headerHops: "2", headerErrorClass: "error", headerReason: "oops ",
		headerLog: `[{"n":1,"at":"1970-01-01T00:00:08Z","class":"error","error":"oops"}]`}
	require.Equal(t, want, msg.Headers)
	require.Equal(t, amqp.Publishing{Headers: msg.Headers, MessageId: "m", Body: []byte("b"), ContentType: "text/plain", ContentEncoding: "gzip",
		CorrelationId: "c", ReplyTo: "r", Type: "t", AppId: "a", Priority: 3, Timestamp: time.Unix(7, 0)}, msg)

	// The next retry keeps what the first one wrote down of the original.
	next := asDelivered(msg, "holdfast.retry", "holdfast.q.bill")
	again, ok := retryOf(&next, "bill", failure{attempts: attempts{failed: 4}, log: log, class: holdfast.ClassPanic})
	require.True(t, ok)
	require.Equal(t, "order.placed", again.Headers[headerRoutingKey])
	require.Equal(t, "x", again.Headers[headerExchange])
	require.Equal(t, "4", again.Headers[headerAttempts])
	require.NotContains(t, again.Headers, headerLost)
	require.NotContains(t, again.Headers, headerHops)
	m, _, _, err := decodeMessage(&next)
	require.NoError(t, err)
	require.Equal(t, "order.placed", m.Topic, "not the queue's name")
	require.Equal(t, "1", m.Headers["n"])
	require.NotContains(t, m.Headers, "x-death")

	// And so does its death.
	p := deadRecord(&next, death{failure: failure{attempts: attempts{failed: 5, lost: 3}, log: log, class: holdfast.ClassLost, reason: "gone"},
		queue: "holdfast.q.bill", consumer: "bill", at: time.Unix(9, 0),
		policy: holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: make([]time.Duration, 60)}})
	require.Equal(t, "order.placed", p.Headers[headerRoutingKey])
	require.Equal(t, "1000", p.Headers[headerExpiration])
	require.Equal(t, "8", p.Headers[headerAttempts])
	require.Equal(t, "3", p.Headers[headerLost])
	require.NotContains(t, p.Headers, headerHops)
	require.True(t, json.Valid([]byte(p.Headers[headerPolicy].(string))), "not clipped")
	require.NotContains(t, deadRecord(&next, death{}).Headers, headerLog)
}

// A message published to the default exchange, or without a routing key, must
// not look as if its first retry were the original.
func TestFirstRoutingKeyIsKept(t *testing.T) {
	d := amqp.Delivery{MessageId: "m"}
	msg := copyOf(&d)
	next := asDelivered(msg, "holdfast.retry", "holdfast.q.bill")
	require.Empty(t, copyOf(&next).Headers[headerRoutingKey])
	require.NotContains(t, copyOf(&next).Headers, headerExchange)
}

func TestRetryThatDoesNotFitTheFrame(t *testing.T) {
	for size, want := range map[int]bool{100 << 10: true, 125 << 10: false} {
		d := amqp.Delivery{MessageId: "m", Headers: amqp.Table{"big": strings.Repeat("x", size)}}
		_, ok := retryOf(&d, "c", failure{})
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
	b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(1) }, func(context.Context, Delivery) error { return errors.New(strings.Repeat("x", maxReason)) })
	before, err := b.pubLink.get(ctx)
	require.NoError(t, err)
	publishRaw(t, b, b.queuesExchange(), b.ConsumerQueue("c"), amqp.Publishing{MessageId: "m", Headers: amqp.Table{"numbers": numbers, "nested": nested,
		"text": strings.Repeat("y", 55<<10)}})
	d := take(t, b, b.DeadQueue())
	require.Equal(t, "m", d.MessageId)
	require.Contains(t, d.Headers, "nested")
	require.Equal(t, "[numbers]", d.Headers[headerCut])
	after, err := b.pubLink.get(ctx)
	require.NoError(t, err)
	require.Same(t, before, after, "the connection was lost")
}
