package broker

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// dropped is the header of what RabbitMQ took out of a queue.
func dropped(queue, exchange, key string) amqp.Table {
	return amqp.Table{"x-death": []any{amqp.Table{"queue": queue, "reason": "expired", "exchange": exchange, "count": int64(1), "routing-keys": []any{key}}}}
}

func TestOrigin(t *testing.T) {
	delayed := dropped("p.retry.10s", "p.retry.10s", "p.q.c")
	for name, x := range map[string]struct {
		d    amqp.Delivery
		want wire.Origin
	}{
		"a message":                        {amqp.Delivery{Exchange: "p.topics", RoutingKey: "order.placed"}, wire.FromTopics},
		"a message with a forged x-death":  {amqp.Delivery{Exchange: "p.topics", Headers: delayed}, wire.FromTopics},
		"the default exchange":             {amqp.Delivery{RoutingKey: "p.q.c"}, wire.FromDefault},
		"our exchange to one queue":        {amqp.Delivery{Exchange: "p.queues"}, wire.FromQueues},
		"a half queue":                     {amqp.Delivery{Exchange: "p.half"}, wire.FromHalf},
		"a dead letter":                    {amqp.Delivery{Exchange: "p.dead"}, wire.FromDead},
		"a reply":                          {amqp.Delivery{Exchange: "p.replies"}, wire.FromReplies},
		"a notice":                         {amqp.Delivery{Exchange: "p.compensated"}, wire.FromNotices},
		"another prefix":                   {amqp.Delivery{Exchange: "q.dead"}, wire.FromElsewhere},
		"a longer prefix":                  {amqp.Delivery{Exchange: "pp.dead"}, wire.FromElsewhere},
		"an exchange bound by somebody":    {amqp.Delivery{Exchange: "shop"}, wire.FromElsewhere},
		"after a delay":                    {amqp.Delivery{Exchange: "p.retry", Headers: delayed}, wire.FromDelay},
		"a delay queue, written directly":  {amqp.Delivery{Exchange: "p.retry", Headers: dropped("p.retry.10s", "", "p.retry.10s")}, wire.FromDefault},
		"dropped":                          {amqp.Delivery{RoutingKey: "p.dead", Headers: dropped("p.q.c", "p.topics", "x")}, wire.FromDropped},
		"a policy that leads to our queue": {amqp.Delivery{Exchange: "p.dead", Headers: dropped("theirs", "p.half", "x")}, wire.FromDropped},
		"another that leads to half":       {amqp.Delivery{Exchange: "p.half", Headers: dropped("theirs", "p.half", "x")}, wire.FromElsewhere},
		"x-death that is no list":          {amqp.Delivery{Exchange: "p.retry", Headers: amqp.Table{"x-death": "p.retry.10s"}}, wire.FromDefault},
		"an entry that is no table":        {amqp.Delivery{Exchange: "p.retry", Headers: amqp.Table{"x-death": []any{"p.retry.10s"}}}, wire.FromDefault},
	} {
		require.Equal(t, x.want, wire.Trust{Prefix: "p"}.Origin(&x.d), name)
	}
}

// Every header of ours that a publisher may write, and what is left of it.
func forged() amqp.Table {
	h := amqp.Table{"tenant": "north"}
	for _, name := range []string{wire.HeaderVersion, wire.HeaderTx, wire.HeaderGroup, wire.HeaderKey, wire.HeaderConsumer, wire.HeaderQueue, wire.HeaderReason, wire.HeaderErrorClass,
		wire.HeaderAttempts, wire.HeaderDeadAt, wire.HeaderExchange, wire.HeaderRoutingKey, wire.HeaderExpiration, wire.HeaderUserID, wire.HeaderCut, wire.HeaderLost, wire.HeaderLog, wire.HeaderPolicy,
		wire.HeaderRedelivery, wire.HeaderLate, wire.HeaderEditedBy, wire.HeaderOriginal, wire.HeaderHops, wire.HeaderOf, wire.HeaderOfConsumer, wire.HeaderOfReason, wire.HeaderOfClass,
		wire.HeaderKept, wire.HeaderWholeSize, wire.HeaderLetter, wire.HeaderLane, wire.HeaderPeek, "holdfast-tomorrow"} {
		h[name] = "1"
	}
	h[wire.HeaderKind], h[wire.HeaderTopic] = wire.KindHandled, "order.placed"
	return h
}

func TestAdmit(t *testing.T) {
	what := func(d amqp.Delivery, admit func(wire.Trust, *amqp.Delivery)) amqp.Table {
		admit(wire.Trust{Prefix: "p"}, &d)
		return d.Headers
	}
	message := amqp.Table{"tenant": "north", wire.HeaderVersion: "1", wire.HeaderTx: "1", wire.HeaderGroup: "1", wire.HeaderKey: "1", wire.HeaderClaim: wire.KindHandled}
	require.Equal(t, message, what(amqp.Delivery{Exchange: "p.topics", RoutingKey: "foreign.x", Headers: forged()}, wire.Trust.Admit), "nor the topic, which is another's")
	message[wire.HeaderTopic] = "order.placed"
	require.Equal(t, message, what(amqp.Delivery{Exchange: "p.topics", RoutingKey: "order.placed", Headers: forged()}, wire.Trust.Admit))
	require.Equal(t, message, what(amqp.Delivery{Exchange: "shop", RoutingKey: "x", Headers: forged()}, wire.Trust.Admit))
	message[wire.HeaderExchange], message[wire.HeaderRoutingKey], message[wire.HeaderExpiration], message[wire.HeaderUserID], message[wire.HeaderCut] = "1", "1", "1", "1", "1"
	require.Equal(t, message, what(amqp.Delivery{RoutingKey: "p.q.c", Headers: forged()}, wire.Trust.Admit))
	require.Equal(t, forged(), what(amqp.Delivery{Exchange: "p.queues", Headers: forged()}, wire.Trust.Admit))

	// In the queue of dead letters, dropped by RabbitMQ.
	h := forged()
	h["x-death"] = dropped("p.q.c", "p.topics", "foreign.x")["x-death"]
	got := what(amqp.Delivery{RoutingKey: "p.dead", Headers: h}, wire.Trust.AdmitDead)
	for _, name := range []string{wire.HeaderKind, wire.HeaderPolicy, wire.HeaderQueue, wire.HeaderConsumer, wire.HeaderDeadAt, wire.HeaderRedelivery, wire.HeaderKept, wire.HeaderLetter, wire.HeaderAttempts, wire.HeaderRoutingKey} {
		require.NotContains(t, got, name)
	}
	h["x-death"] = dropped("p.q.c", "p.queues", "p.q.c")["x-death"]
	got = what(amqp.Delivery{RoutingKey: "p.dead", Headers: h}, wire.Trust.AdmitDead)
	for _, name := range []string{wire.HeaderKind, wire.HeaderPolicy, wire.HeaderQueue, wire.HeaderDeadAt, wire.HeaderKept, wire.HeaderLetter} {
		require.NotContains(t, got, name)
	}
	require.Equal(t, "1", got[wire.HeaderAttempts])

	// And put there by somebody: what it says is told, and nothing is done.
	got = what(amqp.Delivery{RoutingKey: "p.dead", Headers: forged()}, wire.Trust.AdmitDead)
	for _, name := range []string{wire.HeaderKind, wire.HeaderPolicy, wire.HeaderRedelivery, wire.HeaderKept, wire.HeaderLetter, wire.HeaderEditedBy} {
		require.NotContains(t, got, name)
	}
	require.Equal(t, "1", got[wire.HeaderQueue])

	// A message without anything of that is not copied.
	plain := amqp.Delivery{Exchange: "p.topics", RoutingKey: "t", Headers: amqp.Table{wire.HeaderVersion: "1", wire.HeaderTopic: "t", "tenant": "north"}}
	require.Zero(t, testing.AllocsPerRun(100, func() { wire.Trust{Prefix: "p"}.Admit(&plain) }))
	require.Equal(t, forged(), func() amqp.Table {
		d := amqp.Delivery{RoutingKey: "p.q.c", Headers: forged()}
		wire.Trust{Prefix: "p", Rolling: true}.Admit(&d)
		return d.Headers
	}(), "while older versions run")
}

// What a publisher writes into the headers of a message that RabbitMQ drops.
func TestForgedDeath(t *testing.T) {
	d := &amqp.Delivery{MessageId: "m", RoutingKey: "holdfast.dead", Headers: amqp.Table{
		"x-death":         []any{amqp.Table{"queue": "holdfast.q.outside", "reason": "expired", "exchange": "holdfast.topics", "routing-keys": []any{"foreign.x"}}},
		"holdfast-policy": `{"action":"compensate"}`, "holdfast-group": "orders", "holdfast-tx": "x", "holdfast-topic": "order.placed",
		"holdfast-dead-at": "2026-01-01T00:00:00Z", "holdfast-queue": "holdfast.half.orders", "x-last-death-queue": "holdfast.half.orders", "x-last-death-reason": "expired"}}
	l := wire.Trust{Prefix: "holdfast"}.DecodeDead(d, time.Now())
	require.Equal(t, "holdfast.q.outside", l.Queue)
	require.Equal(t, "outside", l.Failure.Consumer)
	require.Equal(t, "foreign.x", l.Message.Topic)
	require.Empty(t, l.Policy.Action)
	for _, exchange := range []string{"", "holdfast.topics", "shop"} {
		d.Exchange = exchange
		d.Headers["holdfast-kind"], d.Headers["holdfast-consumer"], d.Headers["holdfast-redelivery"] = "handled", "payments", "1"
		_, handled := wire.Trust{Prefix: "holdfast"}.DecodeHandled(d)
		require.False(t, handled, exchange)
	}
	delete(d.Headers, "x-death")
	d.Exchange = ""
	_, handled := wire.Trust{Prefix: "holdfast"}.DecodeHandled(d)
	require.False(t, handled)
	require.Contains(t, wire.Trust{Prefix: "holdfast"}.DecodeDead(d, time.Now()).Failure.Reason, "settle that dead letter by hand")
	_, handled = wire.Trust{Prefix: "holdfast", Rolling: true}.DecodeHandled(d)
	require.True(t, handled)
}

// A short text of many empty elements.
func TestListsAreBounded(t *testing.T) {
	many := "[{}" + strings.Repeat(",{}", 500_000) + "]"
	_, err := wire.DecodeHalf(amqp.Table{wire.HeaderVersion: wire.Version, wire.HeaderGroup: "g", wire.HeaderTx: "t"}, []byte(`{"v":1,"tx":"t","group":"g","messages":`+many+`}`), "g", 1<<20)
	require.ErrorContains(t, err, "messages: more than 65 elements")
	_, err = wire.SplitChecks([]byte(`{"v":1,"answers":` + many + `}`))
	require.ErrorContains(t, err, "answers: more than 400 elements")
	var l wire.MessageList
	element := `{"text":"[,]{\",\\","headers":{"a":"b","c":"d"}}`
	require.NoError(t, json.Unmarshal([]byte("[ "+element+strings.Repeat(" ,\n"+element, 64)+" ]"), &l))
	require.Len(t, l, 65)
	require.Equal(t, "[,]{\",\\", string(l[64].Body))
	require.ErrorContains(t, json.Unmarshal([]byte("["+element+strings.Repeat(","+element, 65)+"]"), &l), "more than 65")
	require.NoError(t, json.Unmarshal([]byte("[]"), &l))
	require.Empty(t, l)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"a":1}`), &l), "want a list")
	require.Nil(t, wire.ReadLog(amqp.Table{wire.HeaderLog: "[" + strings.Repeat("{},", wire.MaxLog) + "{}]"}))
}
