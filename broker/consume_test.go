package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func consuming(t *testing.T) (*Broker, context.Context) {
	t.Helper()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.PublishTimeout = 20 * time.Second })
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.*"}))
	return b, ctx
}

// consumer starts a consumer of the queue of consuming.
func (b *Broker) testConsumer(t *testing.T, change func(*Subscription), handle func(ctx context.Context, d Delivery) error) (stop func()) {
	t.Helper()
	o := Subscription{Name: "c", Topics: []string{"order.*"}, Handle: handle, Ladder: []time.Duration{}}
	if change != nil {
		change(&o)
	}
	return background(t, func(ctx context.Context) error { return b.Consume(ctx, o) })
}

func publishTx(t *testing.T, b *Broker, tx string) {
	t.Helper()
	require.NoError(t, b.PublishMessages(testContext(t), "g", tx, messages(tx, "order.placed", 1)))
}

func TestFailingDeliveriesEndAsDeadLetters(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		attempts int
		class    string
	}{
		"poison":    {errors.New("always"), 3, string(holdfast.ClassError)},
		"permanent": {holdfast.Permanent(errors.New("never")), 1, string(holdfast.ClassPermanent)},
		"panic":     {nil, 3, string(holdfast.ClassPanic)},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := consuming(t)
			var attempts []int
			done := make(chan string, 10)
			b.testConsumer(t, nil, func(_ context.Context, d Delivery) error {
				if d.TxID == "good" {
					done <- d.TxID
					return nil
				}
				attempts = append(attempts, d.Attempt)
				d.Message.Body[0] = '!' // a later try must not see this
				if c.err == nil {
					panic("oh no")
				}
				return c.err
			})
			publishTx(t, b, "bad")
			d := take(t, b, b.DeadQueue())
			require.Len(t, attempts, c.attempts)
			require.Equal(t, "bad/0", string(d.Body))
			require.Equal(t, "bad", d.MessageId)
			require.Equal(t, "bad", d.Headers[wire.HeaderTx])
			require.Equal(t, "c", d.Headers[wire.HeaderConsumer])
			require.Equal(t, b.ConsumerQueue("c"), d.Headers[wire.HeaderQueue])
			require.Equal(t, c.class, d.Headers[wire.HeaderErrorClass])
			require.NotEmpty(t, d.Headers[wire.HeaderReason])
			publishTx(t, b, "good")
			require.Equal(t, "good", next(t, done), "the queue goes on")
			require.Zero(t, ready(t, b, b.DeadQueue()))
		})
	}
}

// What is malformed is dead at once, and no outage, however much of it comes.
func TestForeignAndMalformedDeliveries(t *testing.T) {
	b, _ := consuming(t)
	got := make(chan Delivery, 10)
	var events watched
	b.testConsumer(t, func(o *Subscription) {
		o.NeedsID, o.Breaker, o.Ladder, o.Observe = true, holdfast.BreakerOptions{Failures: 2, Pause: time.Hour}, rungs(1), events.add
	}, func(_ context.Context, d Delivery) error {
		if d.Message.ID == "m2" {
			return fmt.Errorf("%w: no JSON", holdfast.ErrMalformed)
		}
		got <- d
		return nil
	})
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Publish(b.TopicsExchange(), "order.raw", false, false, amqp.Publishing{
			Body: []byte("no ID"), Headers: amqp.Table{"n": int32(1), "CC": []any{"x"}}}))
		for range 3 {
			id := uuid.New() // as some languages write it
			require.NoError(t, ch.Publish(b.TopicsExchange(), "order.raw", false, false, amqp.Publishing{MessageId: "\xff" + string(id[:15])}))
		}
		require.NoError(t, ch.Publish(b.TopicsExchange(), "order.raw", false, false, amqp.Publishing{MessageId: "m2"}))
		require.NoError(t, ch.Publish(b.TopicsExchange(), "order.raw", false, false, amqp.Publishing{
			MessageId: "m1", Body: []byte("x"), Headers: amqp.Table{"n": int64(7), "raw": []byte("b")}}))
	})
	d := next(t, got)
	require.Equal(t, holdfast.Message{ID: "m1", Topic: "order.raw", Headers: map[string]string{"n": "7", "raw": "b"}, Body: []byte("x")}, d.Message)
	require.Equal(t, 1, d.Attempt)
	for _, dead := range takeAll(t, b, b.DeadQueue(), 5) {
		require.EqualValues(t, holdfast.ClassMalformed, dead.Headers[wire.HeaderErrorClass])
		require.Equal(t, "1", dead.Headers[wire.HeaderAttempts])
		if dead.MessageId == "" {
			require.Equal(t, "no ID", string(dead.Body))
			require.EqualValues(t, 1, dead.Headers["n"])
			require.Contains(t, dead.Headers[wire.HeaderReason], "message-id")
		}
	}
	require.Empty(t, events.of(EventBreaker))
}

// Who does not write the ID into a database does not need it, also not to have a dead
// letter redelivered.
func TestNoID(t *testing.T) {
	b, ctx := consuming(t)
	got := make(chan string, 10)
	b.testConsumer(t, func(o *Subscription) { o.Tries = 1 }, func(_ context.Context, d Delivery) error {
		if d.Redelivery == 0 && string(d.Message.Body) == "bad" {
			return errOops
		}
		got <- string(d.Message.Body)
		return nil
	})
	records := deadLetters(t, b)
	publishRaw(t, b, b.TopicsExchange(), "order.raw", amqp.Publishing{Body: []byte("tick")})
	require.Equal(t, "tick", next(t, got))
	publishRaw(t, b, b.TopicsExchange(), "order.raw", amqp.Publishing{Body: []byte("bad")})
	l := next(t, records).Letter
	require.Equal(t, holdfast.ClassError, l.Failure.Class)
	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *l, N: 1}))
	require.Equal(t, "bad", next(t, got))
	require.Equal(t, l.ID, next(t, records).Handled.MessageID)
}

// A dead letter that cannot be stored must not be acknowledged.
func TestNoAckWithoutStoredDeadLetter(t *testing.T) {
	t.Parallel()
	b, _ := consuming(t)
	b.c.PublishTimeout = 50 * time.Millisecond
	tries := make(chan bool, 100)
	logged := watchLog(b)
	publishTx(t, b, "bad")
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: true, Reason: "test"})
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error {
		tries <- d.Redelivered
		return holdfast.Permanent(errors.New("never"))
	})
	require.False(t, next(t, tries))
	eventually(t, "given back", func() bool { return logged.contains("will be delivered again") })
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: false})
	require.True(t, next(t, tries), "and delivered again")
	require.Equal(t, "bad", take(t, b, b.DeadQueue()).MessageId)
}

// The dead letter is stored before the delivery is acknowledged.
func TestDeadLetterBeforeAck(t *testing.T) {
	b, _ := consuming(t)
	watcher := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
	var once sync.Once
	fault.Set(func(name string) {
		if name == fault.DeadBeforeAck {
			once.Do(func() { cutConnections(b) }) // the ack is lost
		}
	})
	defer fault.Set(nil)
	b.testConsumer(t, nil, func(context.Context, Delivery) error { return holdfast.Permanent(errors.New("never")) })
	publishTx(t, b, "bad")
	for _, d := range takeAll(t, watcher, b.DeadQueue(), 2) {
		require.Equal(t, "bad", d.MessageId, "twice rather than never")
	}
}

// A consumer that dies with a delivery: another gets it.
func TestRedeliveryAfterCrash(t *testing.T) {
	b, _ := consuming(t)
	other := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
	publishTx(t, b, "a")
	begun, release, got := make(chan Delivery, 1), make(chan struct{}), make(chan Delivery, 10)
	handle := func(_ context.Context, d Delivery) error {
		select {
		case begun <- d:
			<-release
		default: // here or in the other process, whoever is quicker
			got <- d
		}
		return nil
	}
	stop := b.testConsumer(t, nil, handle)
	eventually(t, "it is begun", func() bool { return len(begun) == 1 })
	other.testConsumer(t, nil, handle)
	cutConnections(b)
	d := next(t, got)
	require.Equal(t, "a", d.Message.ID)
	require.True(t, d.Redelivered)
	require.False(t, (<-begun).Redelivered)
	close(release)
	stop()
	require.Zero(t, ready(t, b, b.ConsumerQueue("c")))
}

func TestQueueDeletedUnderConsumer(t *testing.T) {
	b, _ := consuming(t)
	got := make(chan Delivery, 10)
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { got <- d; return nil })
	publishTx(t, b, "a")
	require.Equal(t, "a", next(t, got).Message.ID)
	rawChannel(t, b, func(ch *amqp.Channel) {
		_, err := ch.QueueDelete(b.ConsumerQueue("c"), false, false, false)
		require.NoError(t, err)
	})
	eventually(t, "made and bound again", func() bool {
		return b.PublishMessages(testContext(t), "g", "b", messages("b", "order.placed", 1)) == nil
	})
	require.Equal(t, "b", next(t, got).Message.ID)
}

// On shutdown a running handler finishes undisturbed and is acknowledged; what
// was not begun is given back.
func TestDrain(t *testing.T) {
	b, _ := consuming(t)
	const all = 20
	for range all {
		publishTx(t, b, newTx())
	}
	begun, release := make(chan struct{}, all), make(chan struct{})
	var finished, disturbed atomic.Int64
	stopped := make(chan struct{})
	stop := b.testConsumer(t, func(o *Subscription) { o.Concurrency = 2; o.Prefetch = 10 }, func(ctx context.Context, _ Delivery) error {
		begun <- struct{}{}
		<-release
		if ctx.Err() != nil {
			disturbed.Add(1)
		}
		finished.Add(1)
		return nil
	})
	next(t, begun)
	next(t, begun)
	go func() { stop(); close(stopped) }()
	eventually(t, "the others are given back", func() bool { return ready(t, b, b.ConsumerQueue("c")) == all-2 })
	close(release)
	next2(t, stopped)
	require.EqualValues(t, 2, finished.Load(), "nothing is begun after the end")
	require.Zero(t, disturbed.Load())
	eventually(t, "what was held is given back", func() bool { return ready(t, b, b.ConsumerQueue("c")) == all-2 })
	got := make(chan Delivery, all)
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { got <- d; return nil })
	for range all - 2 {
		require.False(t, next(t, got).Redelivered, "a shutdown is no loss")
	}
}

// A handler that does not finish in DrainTimeout is interrupted; its delivery is
// given back and does not count as failed.
func TestDrainTimeout(t *testing.T) {
	b, _ := consuming(t)
	publishTx(t, b, "a")
	begun := make(chan struct{}, 1)
	stop := b.testConsumer(t, func(o *Subscription) { o.DrainTimeout = 10 * time.Millisecond; o.Tries = 1 }, func(ctx context.Context, _ Delivery) error {
		begun <- struct{}{}
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), link.ErrDrained) {
			t.Error("ended by", context.Cause(ctx))
		}
		return ctx.Err()
	})
	next(t, begun)
	stop()
	eventually(t, "what was held is given back", func() bool { return ready(t, b, b.ConsumerQueue("c")) == 1 })
	require.Zero(t, ready(t, b, b.DeadQueue()))
}

func TestHandlerTimeoutIsAnError(t *testing.T) {
	b, _ := consuming(t)
	publishTx(t, b, "a")
	b.testConsumer(t, func(o *Subscription) { o.HandlerTimeout = time.Millisecond; o.Tries = 2 }, func(ctx context.Context, _ Delivery) error {
		<-ctx.Done()
		return ctx.Err()
	})
	d := take(t, b, b.DeadQueue())
	require.Equal(t, "2", d.Headers[wire.HeaderAttempts])
	require.Contains(t, d.Headers[wire.HeaderReason], "deadline exceeded")
	require.EqualValues(t, holdfast.ClassTimeout, d.Headers[wire.HeaderErrorClass])
}

// A database that is away is not the message's fault.
func TestWait(t *testing.T) {
	b, _ := consuming(t)
	publishTx(t, b, "a")
	attempts := make(chan int, 100)
	var n atomic.Int64
	b.testConsumer(t, func(o *Subscription) { o.Tries = 1 }, func(context.Context, Delivery) error {
		if n.Add(1) < 4 {
			return fmt.Errorf("handler: %w", Wait(errors.New("the database is away")))
		}
		attempts <- int(n.Load())
		return nil
	})
	require.Equal(t, 4, next(t, attempts))
	require.Zero(t, ready(t, b, b.DeadQueue()))
	require.NoError(t, Wait(nil))
}

func TestConcurrencyIsBounded(t *testing.T) {
	b, _ := consuming(t)
	var running, most atomic.Int64
	var got tally
	b.testConsumer(t, func(o *Subscription) { o.Concurrency = 3 }, func(_ context.Context, d Delivery) error {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		got.add(d.Message.ID)
		running.Add(-1)
		return nil
	})
	var cut atomic.Bool
	for range 200 {
		publishTx(t, b, newTx())
		if got.distinct() > 50 && !cut.Swap(true) {
			cutConnections(b)
		}
	}
	eventually(t, "all", func() bool { return got.distinct() == 200 })
	require.LessOrEqual(t, most.Load(), int64(3))
}

func TestSubscriptionIsChecked(t *testing.T) {
	b, ctx := consuming(t)
	handle := func(context.Context, Delivery) error { return nil }
	for name, o := range map[string]Subscription{
		"no name":      {Topics: []string{"x"}, Handle: handle},
		"no topics":    {Name: "c", Handle: handle},
		"no handler":   {Name: "c", Topics: []string{"x"}},
		"prefetch":     {Name: "c", Topics: []string{"x"}, Handle: handle, Prefetch: 1, Concurrency: 2},
		"no tries":     {Name: "c", Topics: []string{"x"}, Handle: handle, Tries: -1},
		"empty topic":  {Name: "c", Topics: []string{""}, Handle: handle},
		"long timeout": {Name: "c", Topics: []string{"x"}, Handle: handle, DrainTimeout: -1},
	} {
		require.ErrorIs(t, b.Consume(ctx, o), holdfast.ErrInvalid, name)
	}
}

func next2(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		require.FailNow(t, "not closed")
	}
}
