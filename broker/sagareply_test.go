package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

func aReply(call wire.SagaCall) wire.SagaReply {
	return wire.SagaReply{Saga: call.Saga, Workflow: call.Workflow, Step: call.Step, Undo: call.Undo, Outcome: stepend.Refused, Class: holdfast.ClassPermanent,
		Reason: "none left\nat all", Result: json.RawMessage(`{"left":"<0>","n":12345678901234567890}`), Participant: "stock", Token: call.Token, Topic: call.Topic}
}

// On the wire.
func TestReplyRecord(t *testing.T) {
	b := replying(t, "asks", "")
	ctx := testContext(t)
	call := aCall(b)
	call.Topic = "stock.reserve"
	require.NoError(t, b.topo.Declare(ctx, b.topo.InstanceReplySteps(call.ReplyTo, b.ReplyQueue("g"))))
	require.NoError(t, b.PublishSagaReply(ctx, call, aReply(call)))
	d := take(t, b, call.ReplyTo)
	require.Equal(t, call.MessageID(), d.CorrelationId)
	require.Equal(t, call.MessageID()+".reply", d.MessageId)
	require.Equal(t, "application/json", d.ContentType)
	require.Equal(t, amqp.Table{"holdfast-kind": "reply", "holdfast-version": "1", "holdfast-saga": call.Saga}, d.Headers)
	require.Equal(t, `{"v":1,"saga":"saga/g/pay/o-1","workflow":"saga/g/pay/o-1/undo","step":"reserve-stock","undo":true,"outcome":"refused","class":"permanent",`+
		`"reason":"none left\nat all","result":{"left":"<0>","n":12345678901234567890},"participant":"stock","token":"t-1","topic":"stock.reserve"}`+"\n", string(d.Body))
	require.Equal(t, -1, ready(t, b, call.Replies), "the durable queue was not needed")
}

// Without the process's queue a reply goes to the durable one; the group finds it
// there later.
func TestReplyToVanishedQueue(t *testing.T) {
	b := replying(t, "asks", "")
	ctx := testContext(t)
	require.NoError(t, b.topo.DeclareReplies(ctx, "g"))
	call := aCall(b)
	require.NoError(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done}))
	eventually(t, "stored", func() bool { return ready(t, b, call.Replies) == 1 })
	require.NoError(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done}))
	var got atomic.Int64
	takeReplies(t, b, func(context.Context, wire.SagaReply) error { got.Add(1); return nil })
	eventually(t, "both", func() bool { return got.Load() == 2 })
}

// No call can have a queue filled that is none of replies.
func TestForeignReplyTo(t *testing.T) {
	b := replying(t, "asks", "")
	ctx := testContext(t)
	require.NoError(t, b.topo.DeclareReplies(ctx, "g"))
	victim := b.o.Prefix + ".victim"
	rawChannel(t, b, func(ch *amqp.Channel) {
		_, err := ch.QueueDeclare(victim, false, true, true, false, nil)
		require.NoError(t, err)
		for _, to := range []string{victim, "amq.rabbitmq.reply-to.x", b.DeadQueue()} {
			call := aCall(b)
			call.ReplyTo = to
			require.NoError(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done}))
			require.Equal(t, call.MessageID(), take(t, b, call.Replies).CorrelationId)
		}
		q, err := ch.QueueDeclarePassive(victim, false, true, true, false, nil)
		require.NoError(t, err)
		require.Zero(t, q.Messages)
	})
	require.Zero(t, ready(t, b, b.DeadQueue()))
	for _, replies := range []string{"", victim, b.DeadQueue(), b.ReplyQueue(""), b.ReplyQueue("a b"), b.InstanceReplyQueue("g"), "other.replies.g"} {
		call := aCall(b)
		call.ReplyTo, call.Replies = victim, replies
		require.ErrorIs(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done}), holdfast.ErrInvalid, replies)
	}
}

func TestReplyIsChecked(t *testing.T) {
	b := replying(t, "asks", "")
	ctx := testContext(t)
	require.NoError(t, b.topo.DeclareReplies(ctx, "g"))
	call := aCall(b)
	large := json.RawMessage(`"` + strings.Repeat("<", wire.MaxSagaResult-2) + `"`)
	require.NoError(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done, Result: large}))
	d := take(t, b, call.Replies)
	r, err := wire.DecodeReply(&d)
	require.NoError(t, err)
	require.Equal(t, large, r.Result, "the largest result comes as it is")
	for name, r := range map[string]wire.SagaReply{
		"no outcome":      {},
		"unknown outcome": {Outcome: "well"},
		"no JSON":         {Outcome: stepend.Done, Result: json.RawMessage("{")},
	} {
		require.ErrorIs(t, b.PublishSagaReply(ctx, call, r), holdfast.ErrInvalid, name)
	}
	err = b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done, Result: json.RawMessage(`"` + strings.Repeat("x", wire.MaxSagaResult-1) + `"`)})
	require.ErrorIs(t, err, holdfast.ErrTooLarge)
	require.ErrorContains(t, err, "524289 bytes")
	require.NoError(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Failed, Reason: strings.Repeat("x", 1<<20)}))
	require.Less(t, len(take(t, b, call.Replies).Body), 4<<10)
}

// A queue that takes no replies does not cost the reply.
func TestReplyToStuckQueue(t *testing.T) {
	t.Parallel()
	b := replying(t, "asks", "")
	require.NoError(t, b.topo.DeclareReplies(testContext(t), "g"))
	b.c.PublishTimeout = 10 * time.Second
	call := aCall(b)
	rawChannel(t, b, func(ch *amqp.Channel) { // it refuses each
		_, err := ch.QueueDeclare(call.ReplyTo, false, false, false, false, amqp.Table{"x-max-length": int32(0), "x-overflow": "reject-publish"})
		require.NoError(t, err)
		require.NoError(t, ch.QueueBind(call.ReplyTo, call.ReplyTo, b.RepliesExchange(), false, nil))
	})
	require.NoError(t, b.PublishSagaReply(context.Background(), call, wire.SagaReply{Outcome: stepend.Done}))
	require.Equal(t, call.MessageID(), take(t, b, call.Replies).CorrelationId)
}

// Another language's reply, with no more than is required.
func TestForeignReply(t *testing.T) {
	r, err := wire.DecodeReply(&amqp.Delivery{Body: []byte(`{"v":1, "saga":"s", "workflow":"w", "step":"x", "outcome":"failed", "class":"odd", "reason":"a\u0000b", "result":null, "more":1}`)})
	require.NoError(t, err)
	require.Equal(t, wire.SagaReply{Saga: "s", Workflow: "w", Step: "x", Outcome: stepend.Failed, Class: holdfast.ClassError, Reason: "a\uFFFDb"}, r)
}

func FuzzDecodeReply(f *testing.F) {
	call := wire.SagaCall{Saga: "s", Workflow: "w", Step: "x"}
	msg, err := wire.EncodeReply(&call, aReply(call))
	require.NoError(f, err)
	f.Add(msg.Body)
	f.Add([]byte(`{"v":1,"saga":"s","workflow":"w","step":"x","outcome":"done","result":null,"class":"\u0000"}`))
	f.Add([]byte(`{"v":1,"saga":"s","workflow":"w","step":"x","outcome":"done","result":[1e999,"\ud800"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := wire.DecodeReply(&amqp.Delivery{Body: body})
		if err != nil {
			require.ErrorIs(t, err, holdfast.ErrMalformed)
			return
		}
		msg, err := wire.EncodeReply(&wire.SagaCall{Saga: r.Saga, Workflow: r.Workflow, Step: r.Step, Undo: r.Undo}, r)
		require.NoError(t, err)
		same, err := wire.DecodeReply(&amqp.Delivery{Body: msg.Body})
		require.NoError(t, err, "what was read once must be readable again")
		require.Equal(t, r.Outcome, same.Outcome)
		require.Equal(t, r.Reason, same.Reason)
		if r.Result != nil {
			require.Equal(t, compact(t, r.Result), compact(t, same.Result))
		}
	})
}

func compact(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var text bytes.Buffer
	require.NoError(t, json.Compact(&text, raw))
	return text.String()
}
