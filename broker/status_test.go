package broker

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// asker opens a Broker that only asks the processes of b's prefix.
func asker(t *testing.T, prefix string) *Broker {
	return open(t, stacktest.Shared(t).AMQPURL(), prefix, func(o *Options) { o.Name = "asker" })
}

// answers asks until the answers are as they should be.
func answers(t *testing.T, b *Broker, ready func([]wire.ProcessStatus) bool) []wire.ProcessStatus {
	t.Helper()
	var got []wire.ProcessStatus
	wait := 300 * time.Millisecond
	require.Eventually(t, func() bool {
		var err error
		got, err = b.Ask(testContext(t), wait)
		wait = min(2*wait, 10*time.Second) // a slow machine needs longer for a large answer
		return err == nil && ready(got)
	}, patience, 10*time.Millisecond, "the answers are %v", got)
	return got
}

func instances(of []wire.ProcessStatus) (names []string) {
	for _, p := range of {
		names = append(names, p.Instance)
	}
	return names
}

// nobody asserts that no process listens: Ask then does not wait.
func nobody(t *testing.T, b *Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := b.Ask(ctx, time.Hour)
	require.NoError(t, err)
	require.Empty(t, got)
	require.NoError(t, ctx.Err(), "it waited although nobody can answer")
}

func exchangeExists(t *testing.T, b *Broker, name string) bool {
	t.Helper()
	conn, err := b.c.Consuming.Get(testContext(t))
	require.NoError(t, err)
	ok, err := b.c.Calls.Exists(testContext(t), conn, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(name, amqp.ExchangeFanout, true, false, false, false, nil)
	})
	require.NoError(t, err)
	return ok
}

func TestProcessesAnswer(t *testing.T) {
	b, ctx := consuming(t)
	b.c.Instance = "one"
	two := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, func(o *Options) { o.Name = "two" })
	a := asker(t, b.o.Prefix)
	begun, release := make(chan struct{}, 1), make(chan struct{})
	b.testConsumer(t, nil, func(context.Context, Delivery) error {
		begun <- struct{}{}
		<-release
		return nil
	})
	defer close(release)
	publishTx(t, b, "a")
	next(t, begun)
	two.testConsumer(t, func(o *Subscription) { o.Name, o.Topics = "b", []string{"x"} }, func(context.Context, Delivery) error { return nil })
	two.testConsumer(t, func(o *Subscription) { o.Name, o.Topics = "a", []string{"x"} }, func(context.Context, Delivery) error { return nil })
	keep(t, two, later)
	require.NoError(t, b.PublishHalf(ctx, half("h", "g")))

	got := answers(t, a, func(ps []wire.ProcessStatus) bool {
		return len(ps) == 2 && len(ps[1].Keepers) == 1 && ps[1].Keepers[0].Undecided == 1
	})
	for i := range got {
		require.NotEmpty(t, got[i].ID)
		got[i].ID = ""
		for j := range got[i].Consumers {
			require.Positive(t, got[i].Consumers[j].Holds, "how long it may hold a message")
			require.Equal(t, DefaultLadder(), got[i].Consumers[j].Delays)
			got[i].Consumers[j].Holds, got[i].Consumers[j].Delays = 0, nil
			got[i].Consumers[j].Pausable = false // once it has read the pauses
		}
	}
	require.Equal(t, wire.ProcessStatus{V: 1, Instance: "one", Consumers: []wire.ConsumerStatus{{Name: "c", Topics: []string{"order.*"}, Breaker: wire.BreakerClosed, Handling: 1}}}, got[0])
	require.Equal(t, "two", got[1].Instance)
	require.Equal(t, []wire.ConsumerStatus{{Name: "a", Topics: []string{"x"}, Breaker: wire.BreakerClosed}, {Name: "b", Topics: []string{"x"}, Breaker: wire.BreakerClosed}}, got[1].Consumers)
	k := got[1].Keepers[0]
	require.Positive(t, k.OldestAge)
	require.Positive(t, k.CheckAfter)
	k.OldestAge, k.CheckAfter = 0, 0
	require.Equal(t, wire.KeeperStatus{Group: "g", Queue: 1, Active: true, Subscribed: true, Held: 1, Undecided: 1}, k)

	b.Settle("g", "h", 1)
	answers(t, a, func(ps []wire.ProcessStatus) bool {
		k := ps[len(ps)-1].Keepers[0]
		return k.Matched == 1 && k.Held == 0 && k.Undecided == 0 && k.OldestAge == 0
	})
}

// The plans of a process's sagas are in its answer, as far as there is room.
func TestAnswersTellOfSagas(t *testing.T) {
	t.Parallel()
	b, _ := consuming(t)
	a := asker(t, b.o.Prefix)
	plan := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("<", n) + `"`) }
	defs := []wire.SagaDefinition{
		{Group: "g", Name: "pay", Version: 2, Plan: plan(1)},
		{Group: "g", Name: "pay", Version: 1, Plan: json.RawMessage("{")},
		{Group: "a", Name: "x", Version: 3, Plan: plan(600 << 10)},
	}
	hide := b.ShowSagas(defs)
	got := answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 })
	require.Len(t, got[0].Sagas, 3)
	require.Equal(t, wire.SagaDefinition{Group: "g", Name: "pay", Version: 1}, got[0].Sagas[1], "what is no JSON costs nobody the answer")
	require.JSONEq(t, string(defs[2].Plan), string(got[0].Sagas[0].Plan), "it fits")
	require.JSONEq(t, `"<"`, string(got[0].Sagas[2].Plan))

	defer b.ShowSagas([]wire.SagaDefinition{{Group: "h", Name: "more", Version: 1, Plan: plan(500 << 10)}})()
	got = answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 && len(ps[0].Sagas) == 4 })
	require.Empty(t, got[0].Sagas[0].Plan, "the largest is left out")
	require.JSONEq(t, `"<"`, string(got[0].Sagas[2].Plan))
	require.NotEmpty(t, got[0].Sagas[3].Plan)
	require.NotEmpty(t, defs[2].Plan, "for this answer only")
	hide()
	answers(t, a, func(ps []wire.ProcessStatus) bool {
		return len(ps) == 1 && len(ps[0].Sagas) == 1 && len(ps[0].Sagas[0].Plan) > 0
	})
}

// Who only publishes or asks declares nothing and does not answer.
func TestNobodyAnswers(t *testing.T) {
	b, ctx := halfQueue(t)
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	nobody(t, b)
	require.False(t, exchangeExists(t, b, b.StatusExchange()))
}

func TestEndedConsumersAreGone(t *testing.T) {
	b, _ := consuming(t)
	a := asker(t, b.o.Prefix)
	nothing := func(context.Context, Delivery) error { return nil }
	stop := b.testConsumer(t, nil, nothing)
	other := b.testConsumer(t, func(o *Subscription) { o.Name = "other" }, nothing)
	answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 && len(ps[0].Consumers) == 2 })
	other()
	got := answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 })
	require.Len(t, got[0].Consumers, 1, "known at once")
	stop()
	answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 0 })
	nobody(t, a)
	b.testConsumer(t, nil, nothing)
	answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 })
}

func TestAnswersAfterLostConnections(t *testing.T) {
	t.Parallel()
	b, _ := consuming(t)
	a := asker(t, b.o.Prefix)
	b.testConsumer(t, nil, func(context.Context, Delivery) error { return nil })
	k := keep(t, b, later)
	for range 3 {
		answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 && len(ps[0].Keepers) == 1 })
		cutConnections(b)
		cutConnections(a)
	}
	answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 && ps[0].Keepers[0].Subscribed })
	require.Positive(t, k.now().Subscriptions)
}

// Answers that no process of ours gives are skipped, and so are repeated ones.
func TestOddAnswersAreSkipped(t *testing.T) {
	b, _ := consuming(t)
	b.c.Instance = "ours"
	a := asker(t, b.o.Prefix)
	b.testConsumer(t, nil, func(context.Context, Delivery) error { return nil })
	answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 })
	rawChannel(t, b, func(ch *amqp.Channel) {
		q, err := ch.QueueDeclare("", false, true, true, false, nil)
		require.NoError(t, err)
		require.NoError(t, ch.QueueBind(q.Name, "", b.StatusExchange(), false, nil))
		requests, err := ch.Consume(q.Name, "", true, true, false, false, nil)
		require.NoError(t, err)
		type reply struct{ id, tx, body string }
		good := `{"v":1,"instance":"theirs","consumers":[{"name":"c","breaker":"open","since":"2026-01-02T03:04:05Z","error":"away"}]}`
		failed := make(chan error, 1)
		go func() { // until the channel is closed
			var err error
			for d := range requests {
				for _, r := range []reply{{"1", "", "{"}, {"2", "", ""}, {"3", "", `{"v":2,"instance":"newer"}`}, {"4", "", `{"v":1,"instance":5}`},
					{"5", "another", good}, {"6", "", good}, {"6", "", good}} {
					if r.tx == "" {
						r.tx = d.CorrelationId
					}
					err = errors.Join(err, ch.Publish("", d.ReplyTo, false, false, amqp.Publishing{MessageId: r.id, CorrelationId: r.tx, Body: []byte(r.body)}))
				}
			}
			failed <- err
		}()
		got := answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) > 1 })
		require.Equal(t, []string{"ours", "theirs"}, instances(got))
		require.Equal(t, []wire.ConsumerStatus{{Name: "c", Breaker: wire.BreakerOpen, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Error: "away"}}, got[1].Consumers)
		require.NoError(t, ch.Close())
		require.NoError(t, next(t, failed))
	})
}

// A request cannot make a process fill a queue.
func TestOnlyDirectReplies(t *testing.T) {
	b, _ := consuming(t)
	a := asker(t, b.o.Prefix)
	b.testConsumer(t, nil, func(context.Context, Delivery) error { return nil })
	answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 })
	rawChannel(t, b, func(ch *amqp.Channel) {
		for _, to := range []string{"", b.DeadQueue()} {
			require.NoError(t, ch.Publish(b.StatusExchange(), "", false, false, amqp.Publishing{ReplyTo: to}))
		}
	})
	answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 }) // requests are answered one after the other
	require.Zero(t, ready(t, b, b.DeadQueue()))
}

// Whatever is wrong with status requests, consumers go on.
func TestBrokenStatusHarmsNobody(t *testing.T) {
	t.Parallel()
	handled := make(chan string, 10)
	handle := func(_ context.Context, d Delivery) error { handled <- d.TxID; return nil }

	t.Run("wrong exchange", func(t *testing.T) {
		b, _ := consuming(t)
		rawChannel(t, b, func(ch *amqp.Channel) {
			require.NoError(t, ch.ExchangeDeclare(b.StatusExchange(), amqp.ExchangeDirect, true, false, false, false, nil))
		})
		b.testConsumer(t, nil, handle)
		publishTx(t, b, "a")
		require.Equal(t, "a", next(t, handled))
		nobody(t, asker(t, b.o.Prefix))
		publishTx(t, b, "b")
		require.Equal(t, "b", next(t, handled))
		require.False(t, b.c.Consuming.Conn.IsClosed())
	})

	t.Run("panic", func(t *testing.T) {
		b, _ := consuming(t)
		a := asker(t, b.o.Prefix)
		b.testConsumer(t, nil, handle)
		asked := make(chan struct{}, 100)
		hide := b.board.ShowConsumer(func() wire.ConsumerStatus { asked <- struct{}{}; panic("oh no") }, func(wire.StatusRequest) {})
		answers(t, a, func(ps []wire.ProcessStatus) bool { return len(asked) > 0 && len(ps) == 0 })
		hide()
		hide() // once is enough
		answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 && len(ps[0].Consumers) == 1 })
		publishTx(t, b, "a")
		require.Equal(t, "a", next(t, handled))
	})

	t.Run("alarm", func(t *testing.T) {
		b, _ := consuming(t)
		a := asker(t, b.o.Prefix)
		b.testConsumer(t, nil, handle)
		answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 })
		asked := make(chan struct{}, 100)
		defer b.board.ShowConsumer(func() wire.ConsumerStatus { asked <- struct{}{}; return wire.ConsumerStatus{Name: "x"} }, func(wire.StatusRequest) {})()
		b.c.Publishing.SetBlocked(amqp.Blocking{Active: true, Reason: "test"})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := b.Ask(ctx, time.Hour)
		require.ErrorContains(t, err, "memory or disk alarm")
		require.NoError(t, ctx.Err(), "no further channel waits for the end of the alarm")
		require.Empty(t, asked)
		asking := testContext(t)
		for wait := 300 * time.Millisecond; len(asked) == 0; wait = min(2*wait, 10*time.Second) { // a slow machine may get a request too late
			got, err := a.Ask(asking, wait)
			require.NoError(t, err)
			require.Empty(t, got, "answers go over the connection that an alarm blocks, not over that of the consumers")
		}
		require.NoError(t, a.PublishMessages(testContext(t), "g", "a", messages("a", "order.placed", 1)))
		require.Equal(t, "a", next(t, handled), "acknowledged and consumed during the alarm")
		b.c.Publishing.SetBlocked(amqp.Blocking{})
		answers(t, a, func(ps []wire.ProcessStatus) bool { return len(ps) == 1 })
	})
}

func TestAskOnAClosedBroker(t *testing.T) {
	b := asker(t, stacktest.Prefix(t))
	require.NoError(t, b.Close(testContext(t)))
	_, err := b.Ask(testContext(t), 0)
	require.ErrorContains(t, err, "closed")
}

// Others may read the answers.
func TestFormatOfAnswers(t *testing.T) {
	body, err := json.Marshal(wire.ProcessStatus{V: 1, Instance: "i",
		Consumers: []wire.ConsumerStatus{{Name: "c", Breaker: wire.BreakerOpen, Since: time.Unix(0, 0).UTC(), Error: "e", Handling: 2}},
		Keepers: []wire.KeeperStatus{{Group: "g", Active: true, Subscribed: true, Held: 4, HandingOver: 1, Undecided: 3, OldestAge: time.Second, CheckAfter: 2, KeeperCounts: wire.KeeperCounts{Matched: 5, HandedOver: 6, Failed: 7, Orphaned: 8, Malformed: 9},
			Queue: 2, FailingSince: time.Unix(0, 0).UTC(), LastError: "away", Oldest: []wire.PeekedHalf{{Tx: "t", Lane: "express", Messages: 1, Topics: []string{"a"}, Age: 3, Tries: 1, HandingOver: true, Bytes: 10}}}}})
	require.NoError(t, err)
	require.Equal(t, `{"v":1,"instance":"i","consumers":[{"name":"c","breaker":"open","since":"1970-01-01T00:00:00Z","error":"e","handling":2}],`+
		`"keepers":[{"group":"g","queue":2,"active":true,"subscribed":true,"held":4,"handing_over":1,"undecided":3,"oldest_age":1000000000,"check_after":2,`+
		`"matched":5,"handed_over":6,"failed":7,"orphaned":8,"malformed":9,`+
		`"failing_since":"1970-01-01T00:00:00Z","last_error":"away","oldest":[{"tx":"t","lane":"express","messages":1,"topics":["a"],"age":3,"tries":1,"handing_over":true,"bytes":10}]}]}`, string(body))
}

// A long error must not make an answer too long to be read.
func TestErrorsInAnswersAreClipped(t *testing.T) {
	b := asker(t, stacktest.Prefix(t))
	defer b.board.ShowConsumer(func() wire.ConsumerStatus { return wire.ConsumerStatus{Error: strings.Repeat("x", 1<<20)} }, func(wire.StatusRequest) {})()
	require.Equal(t, wire.MaxStatusError, len(b.board.Status(wire.StatusRequest{}).Consumers[0].Error))
}
