package broker

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
)

var errOops = errors.New("oops")

// rungs is a ladder of n short delays.
func rungs(n int) []time.Duration {
	out := make([]time.Duration, n)
	for i := range out {
		out[i] = 30 * time.Millisecond
	}
	return out
}

// publishRaw publishes past the Broker.
func publishRaw(t *testing.T, b *Broker, exchange, key string, msg amqp.Publishing) {
	t.Helper()
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Confirm(false))
		dc, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, msg)
		require.NoError(t, err)
		require.True(t, dc.Wait())
	})
}

// watched collects events.
type watched struct {
	mu  sync.Mutex
	all []Event
}

func (w *watched) add(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, e)
}

func (w *watched) of(kind consumer.EventKind) (out []Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.all {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

func TestLadder(t *testing.T) {
	b, _ := consuming(t)
	var events watched
	got := make(chan Delivery, 100)
	policy := holdfast.Policy{Action: holdfast.PolicyCompensate, AllowEdits: true}
	b.testConsumer(t, func(o *Subscription) {
		o.Tries, o.Ladder, o.Observe, o.Policy = 2, []time.Duration{30 * time.Millisecond, 50 * time.Millisecond}, events.add, policy
	}, func(_ context.Context, d Delivery) error {
		got <- d
		d.Message.Body[0] = '!' // a later try must not see this
		return errOops
	})
	publishRaw(t, b, b.TopicsExchange(), "order.raw", amqp.Publishing{MessageId: "m", Body: []byte("body"), Priority: 2, CorrelationId: "c",
		Headers: amqp.Table{"n": int32(7), "CC": []any{"nowhere"}, "x-death": "a fake"}})
	for n := 1; n <= 4; n++ {
		d := next(t, got)
		require.Equal(t, n, d.Attempt)
		require.Equal(t, "m", d.Message.ID)
		require.Equal(t, "order.raw", d.Message.Topic, "not the queue's name")
		require.Equal(t, "7", d.Message.Headers["n"])
		require.False(t, d.Redelivered)
	}
	d := take(t, b, b.DeadQueue())
	require.Equal(t, "body", string(d.Body))
	require.Equal(t, "c", d.CorrelationId)
	require.EqualValues(t, 2, d.Priority)
	require.EqualValues(t, 7, d.Headers["n"])
	require.NotContains(t, d.Headers, "x-death", "that would say that RabbitMQ dropped it")
	require.Equal(t, "4", d.Headers[wire.HeaderAttempts])
	require.Equal(t, "error", d.Headers[wire.HeaderErrorClass])
	require.Equal(t, "oops", d.Headers[wire.HeaderReason])
	require.Equal(t, "order.raw", d.Headers[wire.HeaderRoutingKey])
	require.Equal(t, b.TopicsExchange(), d.Headers[wire.HeaderExchange])
	require.Equal(t, b.ConsumerQueue("c"), d.Headers[wire.HeaderQueue])
	require.Equal(t, policy.String(), d.Headers[wire.HeaderPolicy])
	log := wire.ReadLog(d.Headers)
	require.Len(t, log, 4)
	for i, a := range log {
		require.Equal(t, i+1, a.N)
		require.Equal(t, holdfast.ClassError, a.Class)
		require.Equal(t, "oops", a.Error)
	}
	require.Len(t, events.of(EventAttemptFailed), 4)
	retries := events.of(EventRetry)
	require.Len(t, retries, 2)
	require.Equal(t, 30*time.Millisecond, retries[0].Delay)
	require.Equal(t, 50*time.Millisecond, retries[1].Delay)
	require.Equal(t, "m", retries[1].MessageID)
	require.Equal(t, 3, retries[1].Attempts)
	eventually(t, "told", func() bool { return len(events.of(EventDead)) == 1 })
	eventually(t, "acknowledged", func() bool { return ready(t, b, b.ConsumerQueue("c")) == 0 })
}

// A message that fails for long is told as such once, not at each of its tries.
func TestLongRetryIsToldOnce(t *testing.T) {
	b, _ := consuming(t)
	var events watched
	b.patience.Long = 70 * time.Millisecond
	b.testConsumer(t, func(o *Subscription) {
		o.Tries, o.Ladder, o.Observe = 1, rungs(6), events.add
	}, func(context.Context, Delivery) error { return errOops })
	publishTx(t, b, "a")
	d := take(t, b, b.DeadQueue())
	require.NotContains(t, d.Headers, wire.HeaderLong)
	eventually(t, "told", func() bool { return len(events.of(EventDead)) == 1 })
	retries := events.of(EventRetry)
	require.Len(t, retries, 6)
	long := slices.DeleteFunc(retries, func(e Event) bool { return !e.Long })
	require.Len(t, long, 1)
	require.NotZero(t, long[0].Since)
}

// What RabbitMQ adds when it moves a message must not accumulate, nor make it
// find a cycle, however often the message goes round.
func TestRetriesDoNotAccumulateHeaders(t *testing.T) {
	b, _ := consuming(t)
	queue := b.ConsumerQueue("c")
	const rounds = 15
	rawChannel(t, b, func(ch *amqp.Channel) {
		_, err := ch.QueueDeclare(b.o.Prefix+".spy", true, false, false, false, quorumArgs())
		require.NoError(t, err)
		require.NoError(t, ch.QueueBind(b.o.Prefix+".spy", queue, b.RetryExchange(), false, nil))
	})
	b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(rounds) }, func(context.Context, Delivery) error { return errOops })
	publishTx(t, b, "a")
	d := take(t, b, b.DeadQueue())
	require.Equal(t, strconv.Itoa(rounds+1), d.Headers[wire.HeaderAttempts])
	require.Len(t, wire.ReadLog(d.Headers), wire.LogFirst+wire.LogLast)
	for _, d := range takeAll(t, b, b.o.Prefix+".spy", rounds) {
		require.Equal(t, queue, d.RoutingKey, "the routing key survives")
		deaths := d.Headers["x-death"].([]any)
		require.Len(t, deaths, 1)
		require.EqualValues(t, 1, deaths[0].(amqp.Table)["count"])
	}
}

func TestConsumersShareDelayQueues(t *testing.T) {
	b, ctx := consuming(t)
	require.NoError(t, b.DeclareConsumer(ctx, "other", []string{"order.*"}))
	got := map[string]*tally{"c": {}, "other": {}}
	for name := range got {
		b.testConsumer(t, func(o *Subscription) { o.Name, o.Tries, o.Ladder = name, 1, rungs(2) }, func(_ context.Context, d Delivery) error {
			got[name].add(d.Message.ID)
			if d.Attempt < 3 && d.Message.ID != "good" {
				return errOops
			}
			return nil
		})
	}
	for _, tx := range []string{"a", "b", "good"} {
		publishTx(t, b, tx)
	}
	for _, g := range got {
		eventually(t, "three attempts each", func() bool { return g.of("a") == 3 && g.of("b") == 3 && g.of("good") == 1 })
	}
	eventually(t, "acknowledged", func() bool {
		return ready(t, b, b.ConsumerQueue("c"))+ready(t, b, b.ConsumerQueue("other"))+ready(t, b, b.RetryQueue(30*time.Millisecond)) == 0
	})
	require.Zero(t, ready(t, b, b.DeadQueue()))
}

// RetryAfter makes no immediate try and chooses the delay.
func TestRetryAfter(t *testing.T) {
	b, _ := consuming(t)
	var events watched
	got := make(chan int, 10)
	b.testConsumer(t, func(o *Subscription) { o.Ladder, o.Observe = rungs(1), events.add }, func(_ context.Context, d Delivery) error {
		got <- d.Attempt
		switch d.Attempt {
		case 1:
			return holdfast.RetryAfter(20*time.Millisecond, errOops)
		case 2:
			return holdfast.RetryAfter(3*time.Hour, errOops)
		}
		return nil
	})
	publishTx(t, b, "a")
	require.Equal(t, 1, next(t, got))
	require.Equal(t, 2, next(t, got))
	// Longer than the longest delay: it waits there three times.
	hour := b.RetryQueue(time.Hour)
	for _, hops := range []any{"2", "1", nil} {
		d := take(t, b, hour)
		require.Equal(t, hops, d.Headers[wire.HeaderHops])
		require.Equal(t, b.ConsumerQueue("c"), d.RoutingKey)
		publishRaw(t, b, b.RetryExchange(), d.RoutingKey, amqp.Publishing{MessageId: d.MessageId, Headers: d.Headers, Body: d.Body})
	}
	require.Equal(t, 3, next(t, got))
	require.Empty(t, got, "not tried in between")
	retries := events.of(EventRetry)
	require.Len(t, retries, 2)
	require.Equal(t, 30*time.Millisecond, retries[0].Delay)
	require.Equal(t, 3*time.Hour, retries[1].Delay)
}

func TestRetryQueueOrExchangeDeleted(t *testing.T) {
	for name, remove := range map[string]func(*amqp.Channel, string) error{
		"queue": func(ch *amqp.Channel, name string) error {
			_, err := ch.QueueDelete(name, false, false, false)
			return err
		},
		"exchange": func(ch *amqp.Channel, name string) error { return ch.ExchangeDelete(name, false, false) },
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := consuming(t)
			got := make(chan int, 10)
			b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(1) }, func(_ context.Context, d Delivery) error {
				if d.Attempt == 1 {
					rawChannel(t, b, func(ch *amqp.Channel) {
						if err := remove(ch, b.RetryQueue(30*time.Millisecond)); err != nil {
							t.Error(err)
						}
					})
				}
				got <- d.Attempt
				if d.Attempt == 1 {
					return errOops
				}
				return nil
			})
			publishTx(t, b, "a")
			require.Equal(t, 1, next(t, got))
			require.Equal(t, 2, next(t, got))
			require.Zero(t, ready(t, b, b.DeadQueue()))
		})
	}
}

// A retry whose queue is gone does not stay in the delay queue, where it would
// block all that come after it, and is not lost.
func TestQueueDeletedDuringDelay(t *testing.T) {
	b, ctx := consuming(t)
	delay := 30 * time.Millisecond
	require.NoError(t, b.topo.DeclareConsumer(ctx, "c", wire.Bindings{Topics: []string{"order.*"}}, []time.Duration{delay}))
	publishRaw(t, b, b.RetryQueue(delay), b.ConsumerQueue("gone"), amqp.Publishing{MessageId: "lost", Headers: amqp.Table{wire.HeaderConsumer: "gone", wire.HeaderAttempts: "3"}})
	publishRaw(t, b, b.RetryQueue(delay), b.ConsumerQueue("c"), amqp.Publishing{MessageId: "next"})
	d := take(t, b, b.DeadQueue())
	require.Equal(t, "lost", d.MessageId)
	require.Equal(t, b.ConsumerQueue("gone"), d.RoutingKey)
	require.Equal(t, "3", d.Headers[wire.HeaderAttempts])
	require.Contains(t, d.Headers, "x-death")
	require.Equal(t, "next", take(t, b, b.ConsumerQueue("c")).MessageId)
	eventually(t, "nothing stays", func() bool { return ready(t, b, b.RetryQueue(delay)) == 0 })
}

// A retry that cannot be stored must not be acknowledged.
func TestNoAckWithoutStoredRetry(t *testing.T) {
	t.Parallel()
	b, _ := consuming(t)
	b.c.PublishTimeout = 50 * time.Millisecond
	logged := watchLog(b)
	tries := make(chan int, 100)
	publishTx(t, b, "a")
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: true, Reason: "test"})
	stop := b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(3) }, func(_ context.Context, d Delivery) error {
		tries <- d.Attempt
		return errOops
	})
	require.Equal(t, 1, next(t, tries))
	eventually(t, "given back", func() bool { return logged.contains("a retry could not be stored") })
	stop()
	eventually(t, "there again", func() bool { return ready(t, b, b.ConsumerQueue("c")) == 1 })
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: false})
}

// A retry is stored before its delivery is acknowledged, and the report on a
// redelivery, too.
func TestStoredBeforeAck(t *testing.T) {
	for point, handle := range map[string]func(d Delivery) error{
		fault.RetryBeforeAck: func(d Delivery) error {
			if d.Attempt == 1 && !d.Redelivered {
				return errOops
			}
			return nil
		},
		fault.HandledBeforeAck: func(Delivery) error { return nil },
	} {
		t.Run(point, func(t *testing.T) {
			b, _ := consuming(t)
			var once sync.Once
			fault.Set(func(name string) {
				if name == point {
					once.Do(func() { cutConnections(b) }) // the ack is lost
				}
			})
			defer fault.Set(nil)
			var calls, succeeded atomic.Int64
			b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(2) }, func(_ context.Context, d Delivery) error {
				calls.Add(1)
				err := handle(d)
				if err == nil {
					succeeded.Add(1)
				}
				return err
			})
			headers := amqp.Table{}
			if point == fault.HandledBeforeAck {
				headers[wire.HeaderRedelivery] = "1"
			}
			publishRaw(t, b, b.QueuesExchange(), b.ConsumerQueue("c"), amqp.Publishing{MessageId: "a", Headers: headers})
			eventually(t, "twice rather than never", func() bool { return succeeded.Load() >= 2 })
			if point == fault.HandledBeforeAck {
				for _, d := range takeAll(t, b, b.DeadQueue(), 2) {
					require.Equal(t, wire.KindHandled, d.Headers[wire.HeaderKind])
				}
			}
		})
	}
}

// A redelivered message is tried at once only; its success is reported.
func TestRedeliveryHasNoLadder(t *testing.T) {
	b, _ := consuming(t)
	var attempts atomic.Int64
	b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 2, rungs(3) }, func(_ context.Context, d Delivery) error {
		if d.Redelivery != 4 {
			t.Error("redelivery", d.Redelivery)
		}
		if d.Message.ID == "bad" {
			attempts.Add(1)
			return errOops
		}
		return nil
	})
	for _, id := range []string{"good", "bad"} {
		publishRaw(t, b, b.QueuesExchange(), b.ConsumerQueue("c"), amqp.Publishing{MessageId: id, Body: []byte("body"), Headers: amqp.Table{wire.HeaderRedelivery: "4", wire.HeaderTopic: "order.x"}})
	}
	for _, d := range takeAll(t, b, b.DeadQueue(), 2) {
		require.Equal(t, "4", d.Headers[wire.HeaderRedelivery])
		require.Equal(t, "c", d.Headers[wire.HeaderConsumer])
		switch d.MessageId {
		case "good":
			require.Equal(t, wire.KindHandled, d.Headers[wire.HeaderKind])
			require.Empty(t, d.Body)
		case "bad":
			require.NotContains(t, d.Headers, wire.HeaderKind)
			require.Equal(t, "2", d.Headers[wire.HeaderAttempts])
		}
	}
	require.EqualValues(t, 2, attempts.Load(), "no ladder")
	eventually(t, "acknowledged", func() bool { return ready(t, b, b.ConsumerQueue("c")) == 0 })
}

// A success that an operator waits for is not acknowledged before it is reported.
func TestNoAckWithoutHandledRecord(t *testing.T) {
	t.Parallel()
	b, _ := consuming(t)
	b.c.PublishTimeout = 50 * time.Millisecond
	logged := watchLog(b)
	publishRaw(t, b, b.QueuesExchange(), b.ConsumerQueue("c"), amqp.Publishing{MessageId: "a", Headers: amqp.Table{wire.HeaderRedelivery: "1"}})
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: true, Reason: "test"})
	stop := b.testConsumer(t, nil, func(context.Context, Delivery) error { return nil })
	eventually(t, "given back", func() bool { return logged.contains("the success of a redelivery could not be stored") })
	stop()
	eventually(t, "there again", func() bool { return ready(t, b, b.ConsumerQueue("c")) == 1 })
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: false})
}

// Headers that leave no room for ours: rather a dead letter than a lost
// connection or a message that is not what it was.
func TestRetryWithLargeHeaders(t *testing.T) {
	b, _ := consuming(t)
	b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(3) }, func(context.Context, Delivery) error { return errOops })
	publishRaw(t, b, b.QueuesExchange(), b.ConsumerQueue("c"), amqp.Publishing{MessageId: "a", Headers: amqp.Table{"big": strings.Repeat("x", 125<<10)}})
	d := take(t, b, b.DeadQueue())
	require.Equal(t, "1", d.Headers[wire.HeaderAttempts])
	require.Contains(t, d.Headers[wire.HeaderReason], "no room")
	require.Equal(t, "[big]", d.Headers[wire.HeaderCut])
}

// The shutdown does not forget the tries that a delivery has had.
func TestStoppedBetweenTries(t *testing.T) {
	b, _ := consuming(t)
	publishTx(t, b, "a")
	ctx, cancel := context.WithCancel(testContext(t))
	require.NoError(t, b.Consume(ctx, Subscription{Name: "c", Topics: []string{"order.*"}, Handle: func(context.Context, Delivery) error {
		cancel()
		return errOops
	}}))
	d := take(t, b, b.ConsumerQueue("c"))
	require.Equal(t, "1", d.Headers[wire.HeaderAttempts])
	require.Len(t, wire.ReadLog(d.Headers), 1)
}
