package broker

import (
	"context"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// aCall is a call of a saga of group g.
func aCall(b *Broker) wire.SagaCall {
	return wire.SagaCall{Saga: "saga/g/pay/o-1", Workflow: "saga/g/pay/o-1/undo", Group: "g", Step: "reserve-stock", Undo: true,
		Cause: "payment refused: no\nmoney", Again: true, ReplyTo: b.InstanceReplyQueue("g"), Replies: b.ReplyQueue("g"), Token: "t-1"}
}

func aBody(key string) holdfast.Message {
	return holdfast.Message{ID: "not this", Topic: "order.stock", Key: key, ContentType: "application/json",
		Headers: map[string]string{"tenant": "north", "CC": "x"}, Body: []byte(`{"sku":1}`)}
}

// A participant gets every field, and the same after a retry with and without
// delay, after a loss, and after its dead letter was redelivered.
func TestCallRoundTrip(t *testing.T) {
	b, ctx := consuming(t)
	call, want := aCall(b), aBody("o-1")
	want.ID = call.MessageID()
	wanted := call
	wanted.Topic = "order.stock"
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, b.PublishSagaCall(ctx, call, aBody("o-1")))
		ds, err := ch.Consume(b.ConsumerQueue("c"), "", false, false, false, false, nil)
		require.NoError(t, err)
		d := next(t, ds) // and lost, with the channel
		require.Equal(t, b.InstanceReplyQueue("g"), d.ReplyTo)
		require.Equal(t, amqp.Table{"tenant": "north", "holdfast-header-CC": "x", "holdfast-version": "1", "holdfast-group": "g", "holdfast-topic": "order.stock",
			"holdfast-key": "o-1", "holdfast-saga": call.Saga, "holdfast-saga-workflow": call.Workflow, "holdfast-step": "reserve-stock", "holdfast-op": "undo",
			"holdfast-cause": call.Cause, "holdfast-again": "1", "holdfast-replies": call.Replies, "holdfast-token": "t-1"}, d.Headers)
	})
	got := make(chan Delivery, 10)
	b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 2, rungs(2) }, func(_ context.Context, d Delivery) error {
		got <- d
		if d.Redelivery > 0 {
			return nil
		}
		return errOops
	})
	records := deadLetters(t, b)
	for n := 1; n <= 4; n++ {
		d := next(t, got)
		require.Equal(t, n, d.Attempt)
		require.Equal(t, want, d.Message)
		require.Equal(t, &wanted, d.Saga)
		require.Equal(t, "g", d.Group)
		require.Empty(t, d.TxID)
		require.Nil(t, d.Notice)
	}
	letter := next(t, records).Letter
	require.Equal(t, want.ID, letter.ID)
	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *letter, N: 1, Operator: "ada"}))
	d := next(t, got)
	require.Equal(t, &wanted, d.Saga)
	require.Equal(t, want, d.Message)
	require.NotNil(t, next(t, records).Handled)
}

// What says least.
func TestCallDefaults(t *testing.T) {
	b, ctx := consuming(t)
	got := make(chan Delivery, 10)
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { got <- d; return nil })
	require.NoError(t, b.PublishSagaCall(ctx, wire.SagaCall{Saga: "s", Workflow: "w", Group: "g", Step: "x"}, holdfast.Message{Topic: "order.x"}))
	require.Equal(t, &wire.SagaCall{Saga: "s", Workflow: "w", Group: "g", Step: "x", Replies: b.ReplyQueue("g"), Topic: "order.x"}, next(t, got).Saga)
	publishTx(t, b, "a")
	require.Nil(t, next(t, got).Saga)
}

func TestCallIDs(t *testing.T) {
	id := func(c wire.SagaCall) string { return c.MessageID() }
	a := wire.SagaCall{Saga: "saga/g/a/1", Step: "x"}
	require.Equal(t, "5872869c-5dd9-5169-92f6-821340a2671c", id(a), "calls that are under way go by it")
	same := a
	same.Workflow, same.Group, same.Cause, same.Again, same.ReplyTo = "w", "g", "c", true, "r"
	require.Equal(t, id(a), id(same))
	seen := map[string]bool{}
	for _, c := range []wire.SagaCall{a, {Saga: "saga/g/a/1", Step: "x", Undo: true}, {Saga: "saga/g/a/1", Step: "y"}, {Saga: "saga/g/a/2", Step: "x"}, {Saga: "saga/g/a/1x", Step: ""}} {
		require.False(t, seen[id(c)])
		seen[id(c)] = true
	}
}

func TestCallUnroutable(t *testing.T) {
	b, ctx := consuming(t)
	m := aBody("")
	m.Topic, m.AllowUnrouted = "stock.reserve", true
	err := b.PublishSagaCall(ctx, aCall(b), m)
	require.ErrorIs(t, err, holdfast.ErrUnroutable)
	require.ErrorContains(t, err, "no consumer is bound to stock.reserve")
	require.ErrorContains(t, err, "reserve-stock")
}

func TestCallIsChecked(t *testing.T) {
	b, ctx := consuming(t)
	for name, change := range map[string]func(*wire.SagaCall, *holdfast.Message){
		"no saga":            func(c *wire.SagaCall, _ *holdfast.Message) { c.Saga = "" },
		"long saga":          func(c *wire.SagaCall, _ *holdfast.Message) { c.Saga = strings.Repeat("x", 1001) },
		"control characters": func(c *wire.SagaCall, _ *holdfast.Message) { c.Saga = "a\nb" },
		"no workflow":        func(c *wire.SagaCall, _ *holdfast.Message) { c.Workflow = "" },
		"no step":            func(c *wire.SagaCall, _ *holdfast.Message) { c.Step = "" },
		"no group":           func(c *wire.SagaCall, _ *holdfast.Message) { c.Group = "" },
		"long token":         func(c *wire.SagaCall, _ *holdfast.Message) { c.Token = strings.Repeat("x", 256) },
		"foreign ReplyTo":    func(c *wire.SagaCall, _ *holdfast.Message) { c.ReplyTo = b.DeadQueue() },
		"foreign Replies":    func(c *wire.SagaCall, _ *holdfast.Message) { c.Replies = b.DeadQueue() },
		"a process's queue":  func(c *wire.SagaCall, _ *holdfast.Message) { c.Replies = b.InstanceReplyQueue("g") },
		"no topic":           func(_ *wire.SagaCall, m *holdfast.Message) { m.Topic = "" },
		"reserved header":    func(_ *wire.SagaCall, m *holdfast.Message) { m.Headers = map[string]string{"holdfast-op": "undo"} },
	} {
		call, m := aCall(b), aBody("")
		change(&call, &m)
		require.ErrorIs(t, b.PublishSagaCall(ctx, call, m), holdfast.ErrInvalid, name)
	}
	m := aBody("")
	m.Body = make([]byte, holdfast.MaxBody+1)
	require.ErrorIs(t, b.PublishSagaCall(ctx, aCall(b), m), holdfast.ErrTooLarge)
	require.Zero(t, ready(t, b, b.ConsumerQueue("c")), "nothing is published")

	call := aCall(b)
	call.Cause = strings.Repeat("é", 3000)
	require.NoError(t, b.PublishSagaCall(ctx, call, aBody("")), "a long cause is no reason not to undo")
	cause := wire.HeaderText(take(t, b, b.ConsumerQueue("c")).Headers[wire.HeaderCause])
	require.LessOrEqual(t, len(cause), wire.MaxReason)
	require.True(t, strings.HasPrefix(cause, "éé"))
}

// A call whose confirm is lost is published again, with the same ID.
func TestCallIsRepeated(t *testing.T) {
	b, ctx := consuming(t)
	var once sync.Once
	var points []string
	fault.Set(func(name string) {
		points = append(points, name)
		once.Do(func() { cutConnections(b) })
	})
	defer fault.Set(nil)
	call := aCall(b)
	require.NoError(t, b.PublishSagaCall(ctx, call, aBody("")))
	fault.Set(nil)
	require.Equal(t, fault.SagaCallBeforeConfirm, points[0])
	require.Equal(t, fault.SagaCallAfterConfirm, points[len(points)-1])
	require.Equal(t, call.MessageID(), take(t, b, b.ConsumerQueue("c")).MessageId)
}

// A call that cannot be answered is a dead letter before anything is done.
func TestMalformedCalls(t *testing.T) {
	b, _ := consuming(t)
	b.testConsumer(t, func(o *Subscription) {
		o.GiveUp = func(context.Context, Delivery, holdfast.Failure) (bool, error) {
			t.Error("nobody knows whom to tell")
			return true, nil
		}
	}, func(_ context.Context, d Delivery) error {
		t.Errorf("handled: %+v", d)
		return nil
	})
	for name, change := range map[string]struct {
		header string
		value  any
		says   string
	}{
		"empty saga":          {wire.HeaderSaga, "", wire.HeaderSaga},
		"saga not UTF-8":      {wire.HeaderSaga, []byte{0xff}, wire.HeaderSaga},
		"no workflow":         {wire.HeaderWorkflow, nil, wire.HeaderWorkflow},
		"no step":             {wire.HeaderStep, nil, wire.HeaderStep},
		"no op":               {wire.HeaderStepOp, nil, "want do or undo"},
		"unknown op":          {wire.HeaderStepOp, "redo", "want do or undo"},
		"no group":            {wire.HeaderGroup, nil, wire.HeaderGroup},
		"no replies":          {wire.HeaderReplies, nil, wire.HeaderReplies},
		"foreign replies":     {wire.HeaderReplies, b.DeadQueue(), wire.HeaderReplies},
		"replies of no group": {wire.HeaderReplies, b.ReplyQueue(""), wire.HeaderReplies},
	} {
		call := aCall(b)
		m := aBody("")
		m.ID = name
		msg := wire.EncodeCall(&call, m)
		if msg.Headers[change.header] = change.value; change.value == nil {
			delete(msg.Headers, change.header)
		}
		publishRaw(t, b, b.TopicsExchange(), "order.stock", msg)
		d := take(t, b, b.DeadQueue())
		require.Equal(t, name, d.MessageId)
		require.EqualValues(t, holdfast.ClassMalformed, d.Headers[wire.HeaderErrorClass], name)
		require.Contains(t, d.Headers[wire.HeaderReason], change.says, name)
	}
}

func FuzzDecodeCall(f *testing.F) {
	f.Add("saga/g/a/1", "saga/g/a/1", "g", "x", "do", "1", "why", "r", "holdfast.replies.g")
	f.Add("", "\x00", "\xff", "", "undo", "", "", "holdfast.replies.g@a.1", "holdfast.replies.")
	f.Fuzz(func(t *testing.T, saga, workflow, group, step, op, again, cause, replyTo, replies string) {
		d := amqp.Delivery{MessageId: "m", ReplyTo: replyTo, Headers: amqp.Table{wire.HeaderSaga: saga, wire.HeaderWorkflow: []byte(workflow), wire.HeaderGroup: group,
			wire.HeaderStep: step, wire.HeaderStepOp: op, wire.HeaderAgain: again, wire.HeaderCause: cause, wire.HeaderReplies: replies}}
		c, err := wire.DecodeCall("holdfast", &d)
		if err != nil {
			require.ErrorIs(t, err, holdfast.ErrMalformed)
			return
		}
		require.NotEmpty(t, wire.GroupOfReplies("holdfast", c.Replies))
		msg := wire.EncodeCall(c, holdfast.Message{ID: "m", Topic: "t"})
		same, err := wire.DecodeCall("holdfast", &amqp.Delivery{Headers: msg.Headers, ReplyTo: msg.ReplyTo})
		require.NoError(t, err)
		require.Equal(t, c, same)
	})
}
