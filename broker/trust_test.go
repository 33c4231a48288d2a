package broker

import (
	"encoding/json"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// dropped is the header of what RabbitMQ took out of a queue.
func dropped(queue, exchange, key string) amqp.Table {
	return amqp.Table{"x-death": []any{amqp.Table{"queue": queue, "reason": "expired", "exchange": exchange, "count": int64(1), "routing-keys": []any{key}}}}
}

func TestOrigin(t *testing.T) {
	delayed := dropped("p.retry.10s", "p.retry.10s", "p.q.c")
	for name, x := range map[string]struct {
		d    amqp.Delivery
		want origin
	}{
		"a message":                        {amqp.Delivery{Exchange: "p.topics", RoutingKey: "order.placed"}, fromTopics},
		"a message with a forged x-death":  {amqp.Delivery{Exchange: "p.topics", Headers: delayed}, fromTopics},
		"the default exchange":             {amqp.Delivery{RoutingKey: "p.q.c"}, fromDefault},
		"our exchange to one queue":        {amqp.Delivery{Exchange: "p.queues"}, fromQueues},
		"a half queue":                     {amqp.Delivery{Exchange: "p.half"}, fromHalf},
		"a dead letter":                    {amqp.Delivery{Exchange: "p.dead"}, fromDead},
		"a reply":                          {amqp.Delivery{Exchange: "p.replies"}, fromReplies},
		"a notice":                         {amqp.Delivery{Exchange: "p.compensated"}, fromNotices},
		"another prefix":                   {amqp.Delivery{Exchange: "q.dead"}, fromElsewhere},
		"a longer prefix":                  {amqp.Delivery{Exchange: "pp.dead"}, fromElsewhere},
		"an exchange bound by somebody":    {amqp.Delivery{Exchange: "shop"}, fromElsewhere},
		"after a delay":                    {amqp.Delivery{Exchange: "p.retry", Headers: delayed}, fromDelay},
		"a delay queue, written directly":  {amqp.Delivery{Exchange: "p.retry", Headers: dropped("p.retry.10s", "", "p.retry.10s")}, fromDefault},
		"dropped":                          {amqp.Delivery{RoutingKey: "p.dead", Headers: dropped("p.q.c", "p.topics", "x")}, fromDropped},
		"a policy that leads to our queue": {amqp.Delivery{Exchange: "p.dead", Headers: dropped("theirs", "p.half", "x")}, fromDropped},
		"another that leads to half":       {amqp.Delivery{Exchange: "p.half", Headers: dropped("theirs", "p.half", "x")}, fromElsewhere},
		"x-death that is no list":          {amqp.Delivery{Exchange: "p.retry", Headers: amqp.Table{"x-death": "p.retry.10s"}}, fromDefault},
		"an entry that is no table":        {amqp.Delivery{Exchange: "p.retry", Headers: amqp.Table{"x-death": []any{"p.retry.10s"}}}, fromDefault},
	} {
		require.Equal(t, x.want, trust{prefix: "p"}.origin(&x.d), name)
	}
}

// Every header of ours that a publisher may write, and what is left of it.
func forged() amqp.Table {
	h := amqp.Table{"tenant": "north"}
	for _, name := range []string{headerVersion, headerTx, headerGroup, headerKey, headerConsumer, headerQueue, headerReason, headerErrorClass,
		headerAttempts, headerDeadAt, headerExchange, headerRoutingKey, headerExpiration, headerUserID, headerCut, headerLost, headerLog, headerPolicy,
		headerRedelivery, headerLate, headerEditedBy, headerOriginal, headerHops, headerOf, headerOfConsumer, headerOfReason, headerOfClass,
		headerKept, headerWholeSize, headerLetter, headerLane, headerPeek, "holdfast-tomorrow"} {
		h[name] = "1"
	}
	h[headerKind], h[headerTopic] = kindHandled, "order.placed"
	return h
}

func TestAdmit(t *testing.T) {
	what := func(d amqp.Delivery, admit func(trust, *amqp.Delivery)) amqp.Table {
		admit(trust{prefix: "p"}, &d)
		return d.Headers
	}
	message := amqp.Table{"tenant": "north", headerVersion: "1", headerTx: "1", headerGroup: "1", headerKey: "1", headerClaim: kindHandled}
	require.Equal(t, message, what(amqp.Delivery{Exchange: "p.topics", RoutingKey: "foreign.x", Headers: forged()}, trust.admit), "nor the topic, which is another's")
	message[headerTopic] = "order.placed"
	require.Equal(t, message, what(amqp.Delivery{Exchange: "p.topics", RoutingKey: "order.placed", Headers: forged()}, trust.admit))
	require.Equal(t, message, what(amqp.Delivery{Exchange: "shop", RoutingKey: "x", Headers: forged()}, trust.admit))
	message[headerExchange], message[headerRoutingKey], message[headerExpiration], message[headerUserID], message[headerCut] = "1", "1", "1", "1", "1"
	require.Equal(t, message, what(amqp.Delivery{RoutingKey: "p.q.c", Headers: forged()}, trust.admit))
	require.Equal(t, forged(), what(amqp.Delivery{Exchange: "p.queues", Headers: forged()}, trust.admit))

	// In the queue of dead letters, dropped by RabbitMQ.
	h := forged()
	h["x-death"] = dropped("p.q.c", "p.topics", "foreign.x")["x-death"]
	got := what(amqp.Delivery{RoutingKey: "p.dead", Headers: h}, trust.admitDead)
	for _, name := range []string{headerKind, headerPolicy, headerQueue, headerConsumer, headerDeadAt, headerRedelivery, headerKept, headerLetter, headerAttempts, headerRoutingKey} {
		require.NotContains(t, got, name)
	}
	h["x-death"] = dropped("p.q.c", "p.queues", "p.q.c")["x-death"]
	got = what(amqp.Delivery{RoutingKey: "p.dead", Headers: h}, trust.admitDead)
	for _, name := range []string{headerKind, headerPolicy, headerQueue, headerDeadAt, headerKept, headerLetter} {
		require.NotContains(t, got, name)
	}
	require.Equal(t, "1", got[headerAttempts])

	// And put there by somebody: what it says is told, and nothing is done.
	got = what(amqp.Delivery{RoutingKey: "p.dead", Headers: forged()}, trust.admitDead)
	for _, name := range []string{headerKind, headerPolicy, headerRedelivery, headerKept, headerLetter, headerEditedBy} {
		require.NotContains(t, got, name)
	}
	require.Equal(t, "1", got[headerQueue])

	// A message without anything of that is not copied.
	plain := amqp.Delivery{Exchange: "p.topics", RoutingKey: "t", Headers: amqp.Table{headerVersion: "1", headerTopic: "t", "tenant": "north"}}
	require.Zero(t, testing.AllocsPerRun(100, func() { trust{prefix: "p"}.admit(&plain) }))
	require.Equal(t, forged(), func() amqp.Table {
		d := amqp.Delivery{RoutingKey: "p.q.c", Headers: forged()}
		trust{prefix: "p", rolling: true}.admit(&d)
		return d.Headers
	}(), "while older versions run")
}

// What a publisher writes into the headers of a message that RabbitMQ drops.
func TestForgedDeath(t *testing.T) {
	d := &amqp.Delivery{MessageId: "m", RoutingKey: "holdfast.dead", Headers: amqp.Table{
		"x-death":         []any{amqp.Table{"queue": "holdfast.q.outside", "reason": "expired", "exchange": "holdfast.topics", "routing-keys": []any{"foreign.x"}}},
		"holdfast-policy": `{"action":"compensate"}`, "holdfast-group": "orders", "holdfast-tx": "x", "holdfast-topic": "order.placed",
		"holdfast-dead-at": "2026-01-01T00:00:00Z", "holdfast-queue": "holdfast.half.orders", "x-last-death-queue": "holdfast.half.orders", "x-last-death-reason": "expired"}}
	l := decodeDead("holdfast", d, time.Now())
	require.Equal(t, "holdfast.q.outside", l.Queue)
	require.Equal(t, "outside", l.Failure.Consumer)
	require.Equal(t, "foreign.x", l.Message.Topic)
	require.Empty(t, l.Policy.Action)
	for _, exchange := range []string{"", "holdfast.topics", "shop"} {
		d.Exchange = exchange
		d.Headers["holdfast-kind"], d.Headers["holdfast-consumer"], d.Headers["holdfast-redelivery"] = "handled", "payments", "1"
		_, handled := decodeHandled("holdfast", d)
		require.False(t, handled, exchange)
	}
	delete(d.Headers, "x-death")
	d.Exchange = ""
	_, handled := decodeHandled("holdfast", d)
	require.False(t, handled)
	require.Contains(t, decodeDead("holdfast", d, time.Now()).Failure.Reason, "settle that dead letter by hand")
	_, handled = trust{prefix: "holdfast", rolling: true}.decodeHandled(d)
	require.True(t, handled)
}

// Op records of many IDs, whose halves do not come.
func TestOpsTakeBoundedMemory(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"v":1,"commit":["x"`)
	for i := 1_000_000; b.Len() < maxOpRecord-16; i++ {
		b.WriteString(`,"` + strconv.FormatInt(int64(i), 36) + `"`)
	}
	b.WriteString(`]}`)
	core := newKeeperCore(keeperLimits{window: 2000, checkAfter: time.Minute, orphanAfter: time.Minute, bytes: 64 << 20})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc >> 20
	}
	before := heap()
	for tag := range uint64(30) {
		txs, err := decodeOp(amqp.Table{headerVersion: version, headerGroup: "g"}, []byte(b.String()), "g")
		require.NoError(t, err)
		core.onOp(txs, tag, time.Now())
		require.LessOrEqual(t, core.opBytes, core.limits.ofOps())
	}
	require.Less(t, int64(heap())-int64(before), int64(64), "MiB, the limit for all records of a Keeper")
	runtime.KeepAlive(core)

	// Of two small ones the older is forgotten first.
	core = newKeeperCore(keeperLimits{window: 2000, checkAfter: time.Minute, orphanAfter: time.Minute})
	var many []string
	for i := range 3000 {
		many = append(many, strconv.Itoa(i))
	}
	require.Empty(t, core.onOp(many, 1, time.Now()).acks)
	require.Equal(t, []uint64{1}, core.onOp([]string{strings.Repeat("x", 1<<20-2900*258), "y"}, 2, time.Now()).acks)
	require.Equal(t, 1, core.onHalf(halfArrival{tx: "y", tag: 3}, time.Now()).matched)

	_, err := decodeOp(amqp.Table{headerVersion: version, headerGroup: "g"}, make([]byte, maxOpRecord+1), "g")
	require.ErrorContains(t, err, "the limit is")
	long := opRecord{}
	for i := range 10_000 {
		long.Commit = append(long.Commit, strings.Repeat("<", 90)+strconv.Itoa(i))
	}
	n := 0
	for _, msg := range encodeOps("g", long) {
		txs, err := decodeOp(msg.Headers, msg.Body, "g")
		require.NoError(t, err)
		n += len(txs)
	}
	require.Equal(t, len(long.Commit), n)
}

// A short text of many empty elements.
func TestListsAreBounded(t *testing.T) {
	many := "[{}" + strings.Repeat(",{}", 500_000) + "]"
	_, err := decodeHalf(amqp.Table{headerVersion: version, headerGroup: "g", headerTx: "t"}, []byte(`{"v":1,"tx":"t","group":"g","messages":`+many+`}`), "g", 1<<20)
	require.ErrorContains(t, err, "messages: more than 65 elements")
	_, err = splitChecks([]byte(`{"v":1,"answers":` + many + `}`))
	require.ErrorContains(t, err, "answers: more than 400 elements")
	var l messageList
	element := `{"text":"[,]{\",\\","headers":{"a":"b","c":"d"}}`
	require.NoError(t, json.Unmarshal([]byte("[ "+element+strings.Repeat(" ,\n"+element, 64)+" ]"), &l))
	require.Len(t, l, 65)
	require.Equal(t, "[,]{\",\\", string(l[64].Body))
	require.ErrorContains(t, json.Unmarshal([]byte("["+element+strings.Repeat(","+element, 65)+"]"), &l), "more than 65")
	require.NoError(t, json.Unmarshal([]byte("[]"), &l))
	require.Empty(t, l)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"a":1}`), &l), "want a list")
	var a asking
	a.from = map[string]bool{}
	a.take(&amqp.Delivery{Body: []byte(`{"v":1,"keepers":[{}` + strings.Repeat(",{}", 1000) + `]}`)})
	require.Empty(t, a.answers)
	for i := range maxAnswers + 5 {
		a.take(&amqp.Delivery{MessageId: strconv.Itoa(i), Body: []byte(`{"v":1}`)})
	}
	require.Len(t, a.answers, maxAnswers)
	require.Nil(t, readLog(amqp.Table{headerLog: "[" + strings.Repeat("{},", maxLog) + "{}]"}))
}
