package brokertest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// properties of a message are with each of its tries, and its handler's context knows them.
func properties(w world) {
	b := w.open("a")
	m := holdfast.Message{ID: "tx-1", Topic: "order.placed", Type: "order.v2", CorrelationID: "c-1", CausationID: "m-0",
		ContentEncoding: "gzip", ReplyTo: "answers", AppID: "shop", Priority: 7, TTL: time.Hour,
		Headers: map[string]string{"a": "b"}, Body: []byte("x")}
	var seen log
	var known []holdfast.Delivery
	w.consume(b, broker.Subscription{Name: "c", Topics: []string{"order.placed"}, Tries: 1,
		Ladder: []time.Duration{time.Second}, Handle: func(ctx context.Context, d broker.Delivery) error {
			k, _ := holdfast.DeliveryFrom(ctx)
			seen.mu.Lock()
			known = append(known, k)
			seen.mu.Unlock()
			_ = seen.handle(ctx, d)
			if d.Attempt == 1 {
				return context.DeadlineExceeded
			}
			return nil
		}})
	began := time.Now().Truncate(time.Second)
	require.NoError(w, b.PublishMessages(w.Context(), group, "tx-1", []holdfast.Message{m}))
	ended := time.Now()
	w.eventually(func() bool { return seen.count() == 2 })
	for i, d := range seen.deliveries {
		require.Equal(w, m, d.Message, i)
		k := known[i]
		require.False(w, k.FirstPublished.Before(began) || k.FirstPublished.After(ended), "%v", k.FirstPublished)
		require.Equal(w, known[0].FirstPublished, k.FirstPublished)
		k.FirstPublished = time.Time{}
		require.Equal(w, holdfast.Delivery{Consumer: "c", MessageID: "tx-1", Topic: "order.placed", TxID: "tx-1",
			Group: group, Attempt: i + 1, Type: "order.v2", CorrelationID: "c-1", CausationID: "m-0",
			ContentEncoding: "gzip", ReplyTo: "answers", AppID: "shop", Priority: 7, TTL: time.Hour}, k)
	}
}

// expired: what nobody took within its time to live, nobody gets.
func expired(w world) {
	b := w.open("a")
	var first, again log
	w.consume(b, broker.Subscription{Name: "c", Topics: []string{"quote.made"}, Handle: first.handle})()
	short := holdfast.Message{ID: "short", Topic: "quote.made", TTL: time.Millisecond}
	long := holdfast.Message{ID: "long", Topic: "quote.made", TTL: time.Hour}
	require.NoError(w, b.PublishMessages(w.Context(), group, "short", []holdfast.Message{short}))
	require.NoError(w, b.PublishMessages(w.Context(), group, "long", []holdfast.Message{long}))
	time.Sleep(10 * short.TTL) // its time passes
	w.consume(b, broker.Subscription{Name: "c", Topics: []string{"quote.made"}, Handle: again.handle})
	w.eventually(func() bool { return again.count() == 1 })
	require.Equal(w, "long", again.deliveries[0].Message.ID)
	require.Zero(w, first.count())
}
