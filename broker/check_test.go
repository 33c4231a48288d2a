package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// foreign is a process of a producer group in another language: it answers each
// check-back with what answer returns; nil is no answer.
type foreign struct {
	b     *Broker
	group string
	ch    *amqp.Channel

	mu       sync.Mutex
	requests []amqp.Delivery
	answer   func(d amqp.Delivery) []byte
	sign     func(*amqp.Publishing)
}

// answerWith has it answer so, with what sign makes of the answers.
func (f *foreign) answerWith(answer func(d amqp.Delivery) []byte, sign func(*amqp.Publishing)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.sign = answer, sign
}

func newForeign(t *testing.T, b *Broker, group string, answer func(d amqp.Delivery) []byte) *foreign {
	t.Helper()
	conn, err := b.c.Consuming.Get(testContext(t))
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	args := quorumArgs()
	args["x-message-ttl"] = topology.CheckWait.Milliseconds()
	_, err = ch.QueueDeclare(b.CheckQueue(group), true, false, false, false, args)
	require.NoError(t, err)
	ds, err := ch.Consume(b.CheckQueue(group), "", false, false, false, false, nil)
	require.NoError(t, err)
	f := &foreign{b: b, group: group, ch: ch, answer: answer, sign: func(*amqp.Publishing) {}}
	t.Cleanup(func() { stacktest.DeleteQueues(t, b.o.URL, b.CheckQueue(group)) })
	t.Cleanup(func() { _ = ch.Close() })
	go func() {
		for d := range ds {
			f.mu.Lock()
			f.requests = append(f.requests, d)
			answer, sign := f.answer, f.sign
			f.mu.Unlock()
			if body := answer(d); body != nil {
				p := amqp.Publishing{CorrelationId: d.CorrelationId, Body: body}
				sign(&p)
				exchange := ""
				if strings.HasPrefix(d.ReplyTo, b.AnswersExchange()+".") {
					exchange = b.AnswersExchange()
				}
				_ = ch.Publish(exchange, d.ReplyTo, false, false, p)
			}
			_ = d.Ack(false)
		}
	}()
	return f
}

func (f *foreign) seen() []amqp.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]amqp.Delivery(nil), f.requests...)
}

// checks are n transactions to ask about.
func checks(n int) []wire.CheckTx {
	out := make([]wire.CheckTx, n)
	for i := range out {
		tx := newTx()
		out[i] = wire.CheckTx{ID: tx, Messages: messages(tx, "order.placed", 1)}
	}
	return out
}

// asked reads a request as another language would.
func asked(t *testing.T, d amqp.Delivery) (txs []string) {
	var r struct {
		V            int
		Group        string
		Transactions []struct {
			Tx       string
			Messages []struct{ ID, Topic, Text string }
		}
	}
	if err := json.Unmarshal(d.Body, &r); err != nil || r.V != 1 {
		t.Errorf("request %s: %v", d.Body, err)
	}
	for _, tx := range r.Transactions {
		if tx.Messages[0].ID != tx.Tx || tx.Messages[0].Topic != "order.placed" {
			t.Errorf("request %s", d.Body)
		}
		txs = append(txs, tx.Tx)
	}
	return txs
}

func commitAll(t *testing.T) func(amqp.Delivery) []byte {
	return func(d amqp.Delivery) []byte {
		var answers []string
		for _, tx := range asked(t, d) {
			answers = append(answers, fmt.Sprintf(`{"tx":%q,"resolution":"commit"}`, tx))
		}
		return []byte(`{"v":1,"answers":[` + strings.Join(answers, ",") + `]}`)
	}
}

func TestCheckRemotely(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	f := newForeign(t, b, "orders", commitAll(t))
	got := b.CheckRemotely(testContext(t), "orders", checks(2))
	require.Equal(t, []wire.CheckAnswer{{Resolution: holdfast.Commit}, {Resolution: holdfast.Commit}}, got)
	d := f.seen()[0]
	require.Equal(t, amqp.Table{"holdfast-kind": "check", "holdfast-version": "1", "holdfast-group": "orders"}, d.Headers)
	require.Equal(t, "application/json", d.ContentType)
	require.NotEqual(t, amqp.Persistent, d.DeliveryMode)
}

// answering has a process in another language, connected so, answer check-backs through
// the exchanges of questions and answers.
func answering(t *testing.T, conn *amqp.Connection, b *Broker, group string) (asked chan amqp.Delivery) {
	t.Helper()
	ch, err := conn.Channel()
	require.NoError(t, err)
	t.Cleanup(func() { _ = ch.Close() })
	ds, err := ch.Consume(b.CheckQueue(group), "", false, false, false, false, nil)
	require.NoError(t, err)
	asked = make(chan amqp.Delivery, 100)
	go func() {
		for d := range ds {
			asked <- d
			if d.Exchange == b.ChecksExchange() {
				_ = ch.Publish(b.AnswersExchange(), d.ReplyTo, false, false, amqp.Publishing{CorrelationId: d.CorrelationId, Body: commitAll(t)(d)})
			}
			_ = d.Ack(false)
		}
	}()
	return asked
}

// TestCheckThroughExchanges: where a group's queue is bound to the exchange of questions,
// they come through that alone, and their answers through the exchange of answers.
func TestCheckThroughExchanges(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.Require(ctx, Topology{Checks: []string{"orders"}}))
	t.Cleanup(func() { stacktest.DeleteQueues(t, b.o.URL, b.CheckQueue("orders")) })
	conn, err := b.c.Consuming.Get(ctx)
	require.NoError(t, err)
	asked := answering(t, conn, b, "orders")
	for range 2 {
		require.Equal(t, []wire.CheckAnswer{{Resolution: holdfast.Commit}}, b.CheckRemotely(ctx, "orders", checks(1)))
		require.True(t, strings.HasPrefix(next(t, asked).ReplyTo, b.AnswersExchange()+"."))
	}
	cutConnections(b) // the queue of answers goes with its connection
	conn, err = amqp.Dial(b.o.URL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	answering(t, conn, b, "orders")
	require.Equal(t, []wire.CheckAnswer{{Resolution: holdfast.Commit}}, b.CheckRemotely(ctx, "orders", checks(1)))
	rawChannel(t, b, func(ch *amqp.Channel) { require.NoError(t, ch.ExchangeDelete(b.ChecksExchange(), false, false)) })
	require.ErrorIs(t, b.CheckRemotely(ctx, "nobody", checks(1))[0].Err, wire.ErrUnreached, "and it is made again")
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.ExchangeDeclarePassive(b.ChecksExchange(), amqp.ExchangeDirect, true, false, false, false, nil))
	})
}

// TestCheckRemotelyMany asks about more than one request holds.
// TestCheckRepliesOfOthers: a reply counts once, for the request that it names.
func TestCheckRepliesOfOthers(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	conn, err := b.c.Consuming.Get(testContext(t))
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(testContext(t))
	late := ""
	f := newForeign(t, b, "orders", func(d amqp.Delivery) []byte {
		reply := func(id, resolution string) {
			body := fmt.Sprintf(`{"v":1,"answers":[{"tx":%q,"resolution":%q}]}`, asked(t, d)[0], resolution)
			_ = ch.Publish("", d.ReplyTo, false, false, amqp.Publishing{CorrelationId: id, Body: []byte(body)})
		}
		if late == "" {
			late = d.CorrelationId
			cancel() // and it is answered when nobody waits any more
			return nil
		}
		reply(late, "rollback")
		reply("", "rollback")
		reply("guessed", "rollback")
		reply(d.CorrelationId, "commit")
		reply(d.CorrelationId, "rollback")
		return nil
	})
	require.ErrorIs(t, b.CheckRemotely(ctx, "orders", checks(1))[0].Err, wire.ErrUnreached)
	for range 3 {
		require.Equal(t, []wire.CheckAnswer{{Resolution: holdfast.Commit}}, b.CheckRemotely(testContext(t), "orders", checks(1)))
	}
	require.Equal(t, "10000", f.seen()[0].Expiration)
}

func TestCheckRemotelyMany(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	f := newForeign(t, b, "orders", commitAll(t))
	for _, a := range b.CheckRemotely(testContext(t), "orders", checks(wire.MaxCheckTxs+1)) {
		require.Equal(t, wire.CheckAnswer{Resolution: holdfast.Commit}, a)
	}
	require.Len(t, f.seen(), 2)

	large := checks(3)
	for i := range large {
		large[i].Messages[0].Body = []byte(strings.Repeat("x", wire.MaxCheckBody/2))
	}
	for _, a := range b.CheckRemotely(testContext(t), "orders", large) {
		require.Equal(t, wire.CheckAnswer{Resolution: holdfast.Commit}, a)
	}
	require.Len(t, f.seen(), 5, "no two of them fit into one request")
}

// TestCheckRemotelyAtOnce keeps many requests on one channel apart.
func TestCheckRemotelyAtOnce(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	newForeign(t, b, "orders", func(d amqp.Delivery) []byte {
		tx := asked(t, d)[0]
		return []byte(fmt.Sprintf(`{"v":1,"answers":[{"tx":%q,"resolution":"unknown","error":"about %s"}]}`, tx, tx))
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			txs := checks(1)
			if a := b.CheckRemotely(testContext(t), "orders", txs)[0]; a.Err == nil || a.Err.Error() != "about "+txs[0].ID {
				t.Errorf("%s: %v", txs[0].ID, a.Err)
			}
		})
	}
	all.Wait()
}

func TestCheckRemotelyNobody(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	a := b.CheckRemotely(testContext(t), "orders", checks(1))[0]
	require.ErrorIs(t, a.Err, wire.ErrUnreached)
	require.ErrorContains(t, a.Err, "there is no queue "+b.CheckQueue("orders")+": start a process of group orders")
	require.Equal(t, holdfast.Unknown, a.Resolution)

	ctx, cancel := context.WithCancel(testContext(t))
	newForeign(t, b, "orders", func(amqp.Delivery) []byte { cancel(); return nil })
	a = b.CheckRemotely(ctx, "orders", checks(1))[0]
	require.ErrorIs(t, a.Err, wire.ErrUnreached)
	require.ErrorContains(t, a.Err, "queue "+b.CheckQueue("orders")+": no answer in time")

	require.ErrorIs(t, b.CheckRemotely(testContext(t), "or ders", checks(1))[0].Err, holdfast.ErrInvalid)
}

// TestCheckRemotelyAfterALoss asks again on a new connection.
func TestCheckRemotelyAfterALoss(t *testing.T) {
	url, prefix := stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t)
	b, other := open(t, url, prefix, nil), open(t, url, prefix, nil)
	first := true
	f := newForeign(t, other, "orders", func(d amqp.Delivery) []byte {
		if first {
			first = false
			cutConnections(b) // who asked cannot hear the answer
		}
		return commitAll(t)(d)
	})
	require.Equal(t, wire.CheckAnswer{Resolution: holdfast.Commit}, b.CheckRemotely(testContext(t), "orders", checks(1))[0])
	require.GreaterOrEqual(t, len(f.seen()), 2)
}

// TestCheckAnswers says what answers mean; the second of two transactions is
// always answered well.
func TestCheckAnswers(t *testing.T) {
	tx := wire.CheckTx{ID: "a", Messages: messages("a", "order.placed", 1)}
	tx.Messages[0].AllowUnrouted = true
	other := wire.CheckTx{ID: "b", Messages: messages("b", "order.placed", 2)}
	const well = `,{"tx":"b","resolution":"rollback"}]}`
	changed := holdfast.Message{ID: "a", Topic: "order.placed", Key: "k", Body: []byte("new"), AllowUnrouted: true}
	for name, c := range map[string]struct {
		body string
		want wire.CheckAnswer
		err  string
	}{
		"commit":             {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit"}`, want: wire.CheckAnswer{Resolution: holdfast.Commit}},
		"rollback":           {body: `{"v":1,"answers":[{"tx":"a","resolution":"rollback","messages":[{}]}`, want: wire.CheckAnswer{Resolution: holdfast.Rollback}},
		"unknown":            {body: `{"v":1,"answers":[{"tx":"a","resolution":"unknown","error":"locked"}`, err: "locked"},
		"no resolution":      {body: `{"v":1,"answers":[{"tx":"a"}`, err: "does not know"},
		"changed":            {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit","messages":[{"topic":"order.placed","key":"k","text":"new"}]}`, want: wire.CheckAnswer{Resolution: holdfast.Commit, Messages: []holdfast.Message{changed}}},
		"the same":           {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit","messages":[{"id":"a","topic":"order.placed","text":"a/0"}]}`, want: wire.CheckAnswer{Resolution: holdfast.Commit}},
		"another topic":      {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit","messages":[{"topic":"order.lost"}]}`, err: "IDs and topics may not change"},
		"another ID":         {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit","messages":[{"id":"c","topic":"order.placed"}]}`, err: "IDs and topics may not change"},
		"one too many":       {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit","messages":[{"topic":"order.placed"},{"topic":"order.placed"}]}`, err: "it has 2 messages"},
		"a reserved header":  {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit","messages":[{"topic":"order.placed","headers":{"holdfast-tx":"x"}}]}`, err: "Holdfast's own"},
		"text and base64":    {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit","messages":[{"topic":"order.placed","text":"x","base64":"eA=="}]}`, err: "both text and base64"},
		"maybe":              {body: `{"v":1,"answers":[{"tx":"a","resolution":"maybe"}`, err: "no resolution"},
		"a number":           {body: `{"v":1,"answers":[{"tx":"a","resolution":1}`, err: "resolution"},
		"missing":            {body: `{"v":1,"answers":[{"tx":"c","resolution":"commit"}`, err: "says nothing about transaction a"},
		"twice":              {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit"},{"tx":"a","resolution":"commit"}`, err: "2 answers about transaction a"},
		"no object":          {body: `{"v":1,"answers":[7,null,"a"`, err: "says nothing about transaction a"},
		"messages no list":   {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit","messages":"x"}`, err: "messages"},
		"too large a change": {body: `{"v":1,"answers":[{"tx":"a","resolution":"commit","messages":[{"topic":"order.placed","text":"` + strings.Repeat("x", 101) + `"}]}`, err: "101 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			out := make([]wire.CheckAnswer, 2)
			wire.DecodeChecks([]byte(c.body+well), []wire.CheckTx{tx, other}, 100, out)
			require.Equal(t, wire.CheckAnswer{Resolution: holdfast.Rollback}, out[1])
			if c.err != "" {
				require.ErrorContains(t, out[0].Err, c.err)
				c.want.Err = out[0].Err
			}
			require.Equal(t, c.want, out[0])
			require.NotErrorIs(t, out[0].Err, wire.ErrUnreached)
		})
	}
	for name, body := range map[string]string{"no JSON": "hello", "empty": "", "a later version": `{"v":2,"answers":[]}`,
		"no version": `{"answers":[{"tx":"a","resolution":"commit"}]}`, "oversized": `{"v":1,"answers":[]}` + strings.Repeat(" ", wire.MaxCheckReply)} {
		t.Run(name, func(t *testing.T) {
			out := make([]wire.CheckAnswer, 2)
			wire.DecodeChecks([]byte(body), []wire.CheckTx{tx, other}, 100, out)
			for _, a := range out {
				require.ErrorIs(t, a.Err, holdfast.ErrMalformed)
				require.Equal(t, holdfast.Unknown, a.Resolution)
			}
		})
	}
}
