package broker

import (
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

func withProperties() holdfast.Message {
	return holdfast.Message{ID: "tx-1", Topic: "order.placed", Type: "order.v2", CorrelationID: "c-1", CausationID: "m-0", ContentEncoding: "gzip",
		ReplyTo: "answers", AppID: "shop", Priority: 7, TTL: 90 * time.Second, Body: []byte("x")}
}

// TestTimeToLiveIsTheMessagesAlone: no record of Holdfast's own has one, and no copy, in
// which it would begin anew.
func TestTimeToLiveIsTheMessagesAlone(t *testing.T) {
	m := withProperties()
	msg := wire.EncodeMessage("orders", "tx-1", m)
	require.Equal(t, "90000", msg.Expiration)
	require.Empty(t, wire.EncodeMessage("orders", "tx-1", holdfast.Message{ID: "m", Topic: "t"}).Expiration, "0 would drop it")

	half, err := wire.EncodeHalf(holdfast.Half{TxID: "tx-1", Group: "orders", Messages: []holdfast.Message{m}})
	require.NoError(t, err)
	require.Empty(t, half.Expiration)
	require.Zero(t, half.Priority)
	back, err := wire.DecodeHalf(half.Headers, half.Body, "orders", 0)
	require.NoError(t, err)
	require.Equal(t, []holdfast.Message{m}, back.Messages)

	d := deliveredTo("holdfast", msg)
	d.Exchange, d.RoutingKey, d.Expiration = "holdfast.topics", "order.placed", msg.Expiration
	retry, ok := wire.EncodeRetry(d, "c", wire.Failure{Attempts: wire.Attempts{Failed: 1}, Class: holdfast.ClassError, Reason: "oops"})
	require.True(t, ok)
	letter := wire.Trust{Prefix: "holdfast"}.DecodeDead(deliveredTo("holdfast", wire.EncodeDead(d, wire.DeathOf("holdfast.q.c", "c", 3, errors.New("oops"), deathTime))), deathTime)
	require.Equal(t, m, letter.Message)
	again := wire.EncodeRedelivery("holdfast", &wire.RedeliverRequest{Letter: letter, N: 1})
	notice := wire.EncodeNotice(&letter)
	for name, copied := range map[string]amqp.Publishing{"retry": retry, "redelivery": again, "moved": wire.CopyOf(d), "notice": notice} {
		require.Empty(t, copied.Expiration, name)
		require.Equal(t, [4]string{"order.v2", "c-1", "gzip", "shop"}, [4]string{copied.Type, copied.CorrelationId, copied.ContentEncoding, copied.AppId}, name)
		require.EqualValues(t, 7, copied.Priority, name)
		got, _, _, err := wire.DecodeMessage(deliveredTo("holdfast", copied))
		require.NoError(t, err)
		require.Equal(t, "m-0", got.CausationID, name)
		if name == "notice" {
			require.Zero(t, got.TTL, "who has handled the message is told, however late")
			require.Empty(t, got.ReplyTo)
			continue
		}
		require.Equal(t, m.TTL, got.TTL, "%s: it can be read still", name)
		require.Equal(t, m.ReplyTo, got.ReplyTo, name)
	}
}

// TestExpiredLetter: RabbitMQ takes the time to live off what has expired, and no policy acts
// on it.
func TestExpiredLetter(t *testing.T) {
	msg := wire.EncodeMessage("orders", "tx-1", withProperties())
	msg.Expiration = ""
	d := deliveredTo("holdfast", msg)
	d.Exchange, d.RoutingKey = "", "holdfast.dead"
	d.Headers["x-death"] = xDeaths([4]string{"holdfast.q.c", "expired", "holdfast.topics", "order.placed"})
	d.Headers[wire.HeaderPolicy] = `{"action":"compensate"}`
	l := wire.Trust{Prefix: "holdfast"}.DecodeDead(d, deathTime)
	want := withProperties()
	want.TTL = 0
	require.Equal(t, want, l.Message)
	require.Equal(t, holdfast.ClassDropped, l.Failure.Class)
	require.Equal(t, "c", l.Failure.Consumer)
	require.Zero(t, l.Policy)
	require.Empty(t, wire.EncodeRedelivery("holdfast", &wire.RedeliverRequest{Letter: l, N: 1}).Expiration)
}

// TestPropertiesOfStrangers are read as far as a message may have them.
func TestPropertiesOfStrangers(t *testing.T) {
	for expiration, ttl := range map[string]time.Duration{"0": 0, "1500": 1500 * time.Millisecond, "-1": 0, "soon": 0, "": 0,
		"18446744073709551615": holdfast.MaxTTL, "99999999999999999999": 0} {
		m, _, _, err := wire.DecodeMessage(&amqp.Delivery{MessageId: "m", RoutingKey: "t", Expiration: expiration})
		require.NoError(t, err)
		require.Equal(t, ttl, m.TTL, expiration)
	}
	odd := strings.Repeat("\xff", 200)
	l := wire.Trust{Prefix: "holdfast"}.DecodeDead(&amqp.Delivery{MessageId: "m", Exchange: "holdfast.dead", RoutingKey: "holdfast.dead", Type: odd, CorrelationId: odd,
		ReplyTo: odd, AppId: odd, ContentEncoding: odd, Headers: amqp.Table{wire.HeaderCausation: odd}}, deathTime)
	require.NoError(t, holdfast.Message{Topic: "t", Type: l.Message.Type, CorrelationID: l.Message.CorrelationID, CausationID: l.Message.CausationID,
		ReplyTo: l.Message.ReplyTo, AppID: l.Message.AppID, ContentEncoding: l.Message.ContentEncoding}.Validate())
	call := &amqp.Delivery{MessageId: "m", RoutingKey: "t", ReplyTo: "holdfast.replies.orders@p.1", Headers: amqp.Table{wire.HeaderSaga: "s"}}
	m, _, _, err := wire.DecodeMessage(call)
	require.NoError(t, err)
	require.Empty(t, m.ReplyTo, "that of a saga's call is not the application's")
}
