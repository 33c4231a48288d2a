package broker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/sagacalls"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// replying is a Broker whose two reply queues of the group g are deleted at the
// test's end, whoever made them.
func replying(t *testing.T, name string, prefix string) *Broker {
	t.Helper()
	if prefix == "" {
		prefix = stacktest.Prefix(t)
	}
	b := open(t, stacktest.Shared(t).AMQPURL(), prefix, func(o *Options) { o.Name, o.PublishTimeout = name, 20*time.Second })
	t.Cleanup(func() {
		made.mu.Lock()
		defer made.mu.Unlock()
		made.queues[prefix] = append(made.queues[prefix], b.ReplyQueue("g"), b.InstanceReplyQueue("g"))
	})
	return b
}

// takeReplies consumes the replies of g, and returns once both queues are there.
func takeReplies(t *testing.T, b *Broker, handle func(context.Context, wire.SagaReply) error) (stop func()) {
	t.Helper()
	stop = background(t, func(ctx context.Context) error { return b.ConsumeReplies(ctx, "g", handle) })
	subscribed(t, b)
	return stop
}

func subscribed(t *testing.T, b *Broker) {
	t.Helper()
	eventually(t, "subscribed", func() bool {
		return consumers(t, b, b.ReplyQueue("g")) > 0 && consumers(t, b, b.InstanceReplyQueue("g")) > 0
	})
}

func consumers(t *testing.T, b *Broker, queue string) int {
	t.Helper()
	info, err := b.Inspect(testContext(t), queue)
	require.NoError(t, err)
	return info.Queues[0].Consumers
}

func TestReplyRoundTrip(t *testing.T) {
	b := replying(t, "asks", "")
	participant := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
	got := make(chan wire.SagaReply, 10)
	takeReplies(t, b, func(ctx context.Context, r wire.SagaReply) error {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("no time limit")
		}
		got <- r
		return nil
	})
	call := aCall(b)
	want := aReply(call)
	answer := want
	answer.Saga, answer.Workflow, answer.Step, answer.Undo = "", "", "", false // the call says it
	require.NoError(t, participant.PublishSagaReply(testContext(t), call, answer))
	require.Equal(t, want, next(t, got))
	call.ReplyTo, call.Undo = "", false
	require.NoError(t, participant.PublishSagaReply(testContext(t), call, wire.SagaReply{Outcome: stepend.Done}))
	require.Equal(t, wire.SagaReply{Saga: call.Saga, Workflow: call.Workflow, Step: call.Step, Outcome: stepend.Done, Token: call.Token}, next(t, got))
	eventually(t, "acknowledged", func() bool {
		return ready(t, b, b.ReplyQueue("g"))+ready(t, b, b.InstanceReplyQueue("g")) == 0
	})
}

// The acknowledgement is lost with the connection: the reply comes again, from
// either queue.
func TestReplySurvivesCutConnection(t *testing.T) {
	for _, queue := range []string{"instance", "durable"} {
		t.Run(queue, func(t *testing.T) {
			b := replying(t, "asks", "")
			participant := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
			var cut atomic.Bool
			fault.Set(func(name string) {
				if name == fault.SagaReplyTaken && !cut.Swap(true) {
					cutConnections(b)
				}
			})
			defer fault.Set(nil)
			var got tally
			takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { got.add(r.Step); return nil })
			call := aCall(b)
			if queue == "durable" {
				call.ReplyTo = ""
			}
			require.NoError(t, participant.PublishSagaReply(testContext(t), call, wire.SagaReply{Outcome: stepend.Done}))
			eventually(t, "again", func() bool { return got.of(call.Step) >= 2 })
			fault.Set(nil)
			subscribed(t, b)
			require.Equal(t, call.ReplyTo == "", queue == "durable")
			call = aCall(b)
			call.Step = "next"
			require.NoError(t, participant.PublishSagaReply(testContext(t), call, wire.SagaReply{Outcome: stepend.Done}))
			eventually(t, "it goes on", func() bool { return got.of("next") > 0 })
		})
	}
}

// What a process leaves in its queue when it dies comes to the others of its
// group.
func TestRepliesOfDeadProcess(t *testing.T) {
	t.Parallel()
	b := replying(t, "asks", "")
	dead := replying(t, "dead", b.o.Prefix)
	ctx := testContext(t)
	call := aCall(dead)
	require.NotEqual(t, b.InstanceReplyQueue("g"), call.ReplyTo)
	require.NoError(t, dead.topo.Declare(ctx, dead.topo.InstanceReplySteps(call.ReplyTo, dead.ReplyQueue("g"))))
	got := make(chan wire.SagaReply, 10)
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { got <- r; return nil })
	require.NoError(t, b.PublishSagaReply(ctx, call, aReply(call)))
	require.Equal(t, aReply(call), next(t, got))
}

// At an orderly end the process's queue goes; what is in it stays until RabbitMQ
// has moved it.
func TestInstanceQueueGoesWithItsProcess(t *testing.T) {
	b := replying(t, "asks", "")
	stop := takeReplies(t, b, func(context.Context, wire.SagaReply) error { return nil })
	stop()
	require.Equal(t, -1, ready(t, b, b.InstanceReplyQueue("g")))
	require.Zero(t, ready(t, b, b.ReplyQueue("g")))

	failed := make(chan struct{}, 100)
	stop = takeReplies(t, b, func(context.Context, wire.SagaReply) error { failed <- struct{}{}; return errOops })
	require.NoError(t, b.PublishSagaReply(testContext(t), aCall(b), wire.SagaReply{Outcome: stepend.Done}))
	next(t, failed)
	stop()
	got := make(chan wire.SagaReply, 10)
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { got <- r; return nil })
	require.Equal(t, stepend.Done, next(t, got).Outcome)
}

func TestReplyQueuesDeleted(t *testing.T) {
	b := replying(t, "asks", "")
	var got tally
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { got.add(r.Step); return nil })
	for n, queue := range []string{b.ReplyQueue("g"), b.InstanceReplyQueue("g"), b.ReplyQueue("g")} {
		rawChannel(t, b, func(ch *amqp.Channel) {
			_, err := ch.QueueDelete(queue, false, false, false)
			require.NoError(t, err)
		})
		if n == 2 {
			subscribed(t, b) // also while nobody replies
		}
		call := aCall(b)
		call.ReplyTo, call.Step = queue, queue+"/"+newTx()
		require.NoError(t, b.PublishSagaReply(testContext(t), call, wire.SagaReply{Outcome: stepend.Done}))
		eventually(t, "handled", func() bool { return got.of(call.Step) > 0 })
		subscribed(t, b)
	}
}

// A queue that RabbitMQ refuses is replaced; the durable one is an operator's.
func TestRefusedReplyQueues(t *testing.T) {
	b := replying(t, "asks", "")
	first := b.InstanceReplyQueue("g")
	rawChannel(t, b, func(ch *amqp.Channel) {
		_, err := ch.QueueDeclare(first, false, false, true, false, nil)
		require.NoError(t, err)
		got := make(chan wire.SagaReply, 1)
		stop := takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { got <- r; return nil })
		require.NotEqual(t, first, b.InstanceReplyQueue("g"))
		require.NoError(t, b.PublishSagaReply(testContext(t), aCall(b), wire.SagaReply{Outcome: stepend.Done}))
		next(t, got)
		stop()
		_, err = ch.QueueDeclare(b.ReplyQueue("other"), false, true, false, false, nil)
		require.NoError(t, err)
		err = b.ConsumeReplies(testContext(t), "other", func(context.Context, wire.SagaReply) error { return nil })
		require.ErrorIs(t, err, holdfast.ErrInvalid)
		require.ErrorContains(t, err, b.ReplyQueue("other"))
		_, err = ch.QueueDelete(b.ReplyQueue("other"), false, false, false)
		require.NoError(t, err)
	})
}

// replyDurably publishes a reply of that step to the group's queue.
func replyDurably(t *testing.T, b *Broker, step string) {
	t.Helper()
	call := aCall(b)
	call.ReplyTo, call.Step = "", step
	if err := b.PublishSagaReply(testContext(t), call, wire.SagaReply{Outcome: stepend.Done}); err != nil {
		t.Error(err)
	}
}

// As many are handled at a time as may be, and no more.
func TestRepliesAreBounded(t *testing.T) {
	b := replying(t, "asks", "")
	require.NoError(t, b.topo.DeclareReplies(testContext(t), "g"))
	for range 2 * sagacalls.Concurrency {
		replyDurably(t, b, newTx())
	}
	var handled atomic.Int64
	release := make(chan struct{})
	takeReplies(t, b, func(context.Context, wire.SagaReply) error { handled.Add(1); <-release; return nil })
	defer close(release)
	eventually(t, "all are fetched", func() bool { return ready(t, b, b.ReplyQueue("g")) == 0 && handled.Load() >= sagacalls.Concurrency })
	require.EqualValues(t, sagacalls.Concurrency, handled.Load())
}

// A handler that fails gets the reply again, for ever; others are not held up.
func TestReplyIsNeverGivenUp(t *testing.T) {
	b := replying(t, "asks", "")
	var bad, good tally
	b.calls.Hold = time.Millisecond
	stop := takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error {
		if r.Step == "good" {
			good.add(r.Step)
			return nil
		}
		bad.add(r.Step)
		if r.Step == "panic" {
			panic("oh no")
		}
		return errOops
	})
	const all = sagacalls.Prefetch + 10 // more than are held
	var publishing sync.WaitGroup
	for i := range all {
		step := "bad-" + strconv.Itoa(i)
		if i == 0 {
			step = "panic"
		}
		publishing.Go(func() { replyDurably(t, b, step) })
	}
	publishing.Wait()
	replyDurably(t, b, "good")
	eventually(t, "again and again", func() bool { return bad.of("bad-1") > 2 && bad.of("panic") > 2 && good.of("good") > 0 })
	stop()
	eventually(t, "kept", func() bool { return ready(t, b, b.ReplyQueue("g")) >= all })
	require.Zero(t, ready(t, b, b.DeadQueue()))
}

// A reply that cannot be put behind the others is given back.
func TestReplyIsGivenBack(t *testing.T) {
	b := replying(t, "asks", "")
	require.NoError(t, b.topo.DeclareReplies(testContext(t), "g"))
	call := aCall(b)
	call.ReplyTo = ""
	require.NoError(t, b.PublishSagaReply(testContext(t), call, wire.SagaReply{Outcome: stepend.Done}))
	b.c.PublishTimeout = 10 * time.Millisecond
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: true, Reason: "test"})
	logged := watchLog(b)
	b.calls.Hold = time.Millisecond
	var done atomic.Bool
	background(t, func(ctx context.Context) error {
		return b.ConsumeReplies(ctx, "g", func(context.Context, wire.SagaReply) error {
			if !logged.contains("it is given back") {
				return errOops
			}
			done.Store(true)
			return nil
		})
	})
	eventually(t, "comes again", done.Load)
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: false})
}

func TestMalformedReplies(t *testing.T) {
	b := replying(t, "asks", "")
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error {
		t.Errorf("handled: %+v", r)
		return nil
	})
	good := `"saga":"s","workflow":"w","step":"x"`
	for _, queue := range []string{b.ReplyQueue("g"), b.InstanceReplyQueue("g")} {
		for name, body := range map[string]string{
			"empty":           "",
			"no object":       "[]",
			"no version":      `{` + good + `,"outcome":"done"}`,
			"newer":           `{"v":2,` + good + `,"outcome":"done"}`,
			"no outcome":      `{"v":1,` + good + `}`,
			"unknown outcome": `{"v":1,` + good + `,"outcome":"well"}`,
			"no step":         `{"v":1,"saga":"s","workflow":"w","outcome":"done"}`,
			"no workflow":     `{"v":1,"saga":"s","step":"x","outcome":"done"}`,
			"no saga":         `{"v":1,"workflow":"w","step":"x","outcome":"done"}`,
			"long":            `{"v":1,` + good + `,"outcome":"done","result":"` + strings.Repeat("x", wire.MaxSagaResult) + `"}`,
			"longer":          strings.Repeat("x", wire.MaxReplyRecord+1),
		} {
			publishRaw(t, b, b.RepliesExchange(), queue, amqp.Publishing{MessageId: name, CorrelationId: "c", Body: []byte(body)})
			d := take(t, b, b.DeadQueue())
			require.Equal(t, name, d.MessageId)
			require.Equal(t, body, string(d.Body))
			require.EqualValues(t, holdfast.ClassMalformed, d.Headers[wire.HeaderErrorClass])
			require.Contains(t, d.Headers[wire.HeaderReason], "reply to a saga")
			require.Equal(t, queue, d.Headers[wire.HeaderQueue])
		}
	}
}

// Many replies at once, with losses: every one comes.
func TestManyReplies(t *testing.T) {
	b := replying(t, "asks", "")
	participant := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
	var got tally
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { got.add(r.Step); return nil })
	const all = 500
	var wg sync.WaitGroup
	for i := range all {
		if i == all/2 {
			cutConnections(b)
		}
		call := aCall(b)
		call.Step = newTx()
		wg.Go(func() {
			if err := participant.PublishSagaReply(testContext(t), call, wire.SagaReply{Outcome: stepend.Done}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "all", func() bool { return got.distinct() == all })
}

// RabbitMQ is killed and comes back.
func TestRepliesAfterRestart(t *testing.T) {
	t.Parallel()
	s := stacktest.PrivateRabbitMQ(t)
	b := open(t, s.AMQPURL(), "replies", nil)
	var got tally
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { got.add(r.Step); return nil })
	settleQueues(t, s.RabbitMQ)
	ctx := testContext(t)
	require.NoError(t, s.RabbitMQ.Kill())
	require.NoError(t, s.RabbitMQ.Start(ctx))
	for _, to := range []string{"", b.InstanceReplyQueue("g")} {
		call := aCall(b)
		call.ReplyTo, call.Step = to, "to-"+to
		require.NoError(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done}))
		eventually(t, "it goes on", func() bool { return got.of(call.Step) > 0 })
	}
}

// The end of ConsumeReplies lets a running handler finish, and a handler that
// ignores its end is named.
func TestReplyConsumerIsChecked(t *testing.T) {
	b := replying(t, "asks", "")
	ctx := testContext(t)
	require.ErrorIs(t, b.ConsumeReplies(ctx, "", func(context.Context, wire.SagaReply) error { return nil }), holdfast.ErrInvalid)
	require.ErrorIs(t, b.ConsumeReplies(ctx, "g", nil), holdfast.ErrInvalid)

	begun, release, stopped := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	stop := takeReplies(t, b, func(ctx context.Context, _ wire.SagaReply) error {
		begun <- struct{}{}
		<-release
		return errors.Join(ctx.Err(), nil)
	})
	require.NoError(t, b.PublishSagaReply(ctx, aCall(b), wire.SagaReply{Outcome: stepend.Done}))
	next(t, begun)
	go func() { stop(); close(stopped) }()
	eventually(t, "no further one is taken", func() bool { return consumers(t, b, b.ReplyQueue("g")) <= 0 })
	close(release)
	next2(t, stopped)
	require.Equal(t, -1, ready(t, b, b.InstanceReplyQueue("g")), "it was acknowledged")
}
