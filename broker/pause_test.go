package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

var errDown = errors.New("the dependency is down")

var quick = holdfast.BreakerOptions{Failures: 4, Pause: 20 * time.Millisecond, MaxPause: 40 * time.Millisecond}

// dependency is what a handler needs.
type dependency struct {
	down    atomic.Bool
	state   atomic.Value // of the breaker
	probes  tally
	handled tally
	probing atomic.Int64 // handlers that run and were begun as probes
	errs    chan string
}

func newDependency() *dependency {
	d := &dependency{errs: make(chan string, 1000)}
	d.state.Store(wire.BreakerClosed)
	return d
}

func (d *dependency) observe(e Event) {
	if e.Kind == EventBreaker {
		d.state.Store(e.Breaker)
	}
}

func (d *dependency) handle(_ context.Context, m Delivery) error {
	if d.state.Load() == wire.BreakerProbing {
		if d.probing.Add(1) > 1 {
			d.errs <- "two probes at a time"
		}
		defer d.probing.Add(-1)
		d.probes.add(m.Message.ID)
	}
	if d.down.Load() {
		return errDown
	}
	d.handled.add(m.Message.ID)
	return nil
}

// During an outage nothing becomes a dead letter, however long it lasts: the
// messages take turns as probes. Then everything is handled.
func TestOutage(t *testing.T) {
	for _, concurrency := range []int{1, 64} {
		t.Run(strconv.Itoa(concurrency), func(t *testing.T) {
			b, _ := consuming(t)
			dep := newDependency()
			dep.down.Store(true)
			var dead atomic.Int64
			b.testConsumer(t, func(o *Subscription) {
				o.Concurrency, o.Tries, o.Ladder, o.Breaker = concurrency, 2, rungs(4), quick
				o.Observe = func(e Event) {
					dep.observe(e)
					if e.Kind == EventDead {
						dead.Add(1)
					}
				}
			}, dep.handle)
			const all = 8 // each is a probe more often than it is allowed attempts
			for range all {
				publishTx(t, b, newTx())
			}
			eventually(t, "probed with many messages, again and again", func() bool {
				return dep.probes.distinct() == all && dep.probes.sum() > 10*all
			})
			cutConnections(b)
			at := dep.probes.sum()
			eventually(t, "goes on after a lost connection", func() bool { return dep.probes.sum() > at+5 })
			dep.down.Store(false)
			eventually(t, "everything handled", func() bool { return dep.handled.distinct() == all })
			eventually(t, "closed", func() bool { return dep.state.Load() == wire.BreakerClosed })
			require.Zero(t, dead.Load())
			require.Empty(t, dep.errs)
			eventually(t, "nothing is left", func() bool { return ready(t, b, b.ConsumerQueue("c")) == 0 })
			publishTx(t, b, "later")
			eventually(t, "as usual", func() bool { return dep.handled.of("later") == 1 })
		})
	}
}

// While the breaker is open nothing is held: neither what was fetched ahead nor
// what failed, nor what waits for its database.
func TestNothingHeldWhileOpen(t *testing.T) {
	for name, err := range map[string]error{"failing": errDown, "waiting": fmt.Errorf("begin: %w", Wait(errDown)), "retry after": holdfast.RetryAfter(time.Second, errDown)} {
		t.Run(name, func(t *testing.T) {
			b, _ := consuming(t)
			const all = 20
			for range all {
				publishTx(t, b, newTx())
			}
			dep := newDependency()
			o := Subscription{Name: "c", Topics: []string{"order.*"}, Concurrency: 3, Tries: 1, Ladder: rungs(5), Observe: dep.observe,
				Breaker: holdfast.BreakerOptions{Failures: 4, Pause: time.Hour}, Handle: func(context.Context, Delivery) error { return err }}
			stop := background(t, func(ctx context.Context) error { return b.Consume(ctx, o) })
			eventually(t, "open", func() bool { return dep.state.Load() == wire.BreakerOpen })
			waiting := func() int {
				return ready(t, b, b.ConsumerQueue("c")) + max(0, ready(t, b, b.RetryQueue(30*time.Millisecond))) + ready(t, b, b.RetryQueue(10*time.Second))
			}
			eventually(t, "everything is in its queues", func() bool { return waiting() == all })
			stop() // shuts down while it is open
			eventually(t, "and still is", func() bool { return waiting() == all })
			require.Zero(t, ready(t, b, b.DeadQueue()))
		})
	}
}

// One bad message is no outage: it dies. Nor are several tries of it, nor errors
// that a handler could judge.
func TestBadMessagesAreNoOutage(t *testing.T) {
	b, _ := consuming(t)
	var events watched
	b.testConsumer(t, func(o *Subscription) {
		o.Concurrency, o.Tries, o.Ladder, o.Breaker, o.Observe = 1, 5, rungs(5), quick, events.add
	}, func(_ context.Context, d Delivery) error {
		if d.Message.ID == "bad" {
			return errDown
		}
		if strings.HasPrefix(d.TxID, "malformed") {
			return fmt.Errorf("%w: no order number", holdfast.ErrMalformed)
		}
		return holdfast.Permanent(errDown)
	})
	publishTx(t, b, "bad")
	for range 5 {
		publishTx(t, b, newTx())
	}
	for i := range 5 {
		publishTx(t, b, "malformed"+strconv.Itoa(i))
	}
	attempts := map[string]string{}
	for _, d := range takeAll(t, b, b.DeadQueue(), 11) {
		attempts[d.MessageId] = d.Headers[wire.HeaderAttempts].(string)
	}
	require.Equal(t, "10", attempts["bad"])
	require.Empty(t, events.of(EventBreaker))
}

// Messages that fail by themselves hold up no other: not while they make it look like an
// outage, and not afterwards, when they go their ladder.
func TestPoisonHoldsUpNobody(t *testing.T) {
	b, _ := consuming(t)
	const poison = 25
	for i := range poison {
		publishTx(t, b, "bad"+strconv.Itoa(i))
	}
	publishTx(t, b, "good")
	good := make(chan string, 10)
	var events watched
	b.testConsumer(t, func(o *Subscription) {
		o.Tries, o.Ladder, o.Observe = 2, rungs(2), events.add
		o.Breaker = holdfast.BreakerOptions{Pause: 500 * time.Millisecond, MaxPause: time.Hour} // one probe for each pause would take hours
	}, func(_ context.Context, d Delivery) error {
		if strings.HasPrefix(d.TxID, "bad") {
			return errDown
		}
		good <- d.TxID
		return nil
	})
	require.Equal(t, "good", next(t, good))
	// What else comes goes past them, too, and shows that they fail by themselves:
	// without it, that could not be known.
	for i := 0; ready(t, b, b.DeadQueue()) < poison; i++ {
		tx := "good" + strconv.Itoa(i)
		publishTx(t, b, tx)
		require.Equal(t, tx, next(t, good))
	}
	for _, d := range takeAll(t, b, b.DeadQueue(), poison) {
		require.Equal(t, "4", d.Headers[wire.HeaderAttempts], "each goes its ladder")
	}
	closed := 0
	for _, e := range events.of(EventBreaker) {
		if e.Breaker == wire.BreakerClosed {
			closed++
		}
	}
	require.LessOrEqual(t, closed, 3, "it opened again for what is known to fail") // 25 are three rounds of 10
}

// An error that a handler could judge closes the breaker as a success does.
func TestJudgementEndsTheOutage(t *testing.T) {
	b, _ := consuming(t)
	dep := newDependency()
	dep.down.Store(true)
	b.testConsumer(t, func(o *Subscription) {
		o.Tries, o.Ladder, o.Breaker, o.Observe = 1, rungs(5), quick, dep.observe
	}, func(ctx context.Context, d Delivery) error {
		if err := dep.handle(ctx, d); err != nil {
			return err
		}
		return holdfast.Permanent(errOops)
	})
	for range 8 {
		publishTx(t, b, newTx())
	}
	eventually(t, "open", func() bool { return dep.state.Load() == wire.BreakerOpen })
	dep.down.Store(false)
	eventually(t, "closed", func() bool { return dep.state.Load() == wire.BreakerClosed })
	takeAll(t, b, b.DeadQueue(), 8)
}

// A handler that hangs until its time is over is an outage, too.
func TestHangingHandlers(t *testing.T) {
	b, _ := consuming(t)
	dep := newDependency()
	dep.down.Store(true)
	b.testConsumer(t, func(o *Subscription) {
		o.Concurrency, o.Tries, o.Ladder, o.Breaker, o.Observe, o.HandlerTimeout = 8, 2, rungs(2), quick, dep.observe, 10*time.Millisecond
	}, func(ctx context.Context, d Delivery) error {
		if dep.down.Load() {
			<-ctx.Done()
		}
		return dep.handle(ctx, d)
	})
	for range 20 {
		publishTx(t, b, newTx())
	}
	eventually(t, "probes", func() bool { return dep.probes.distinct() > 5 })
	dep.down.Store(false)
	eventually(t, "everything handled", func() bool { return dep.handled.distinct() == 20 })
	require.Zero(t, ready(t, b, b.DeadQueue()))
}

// A failure that was begun before an outage does not count after it.
func TestBegunBeforeTheOutage(t *testing.T) {
	b, _ := consuming(t)
	dep := newDependency()
	dep.down.Store(true)
	begun, release := make(chan struct{}, 10), make(chan struct{})
	var slow atomic.Int64
	b.testConsumer(t, func(o *Subscription) {
		o.Concurrency, o.Tries, o.Breaker, o.Observe = 2, 1, quick, dep.observe
		o.Ladder = rungs(3)
	},
		func(ctx context.Context, d Delivery) error {
			if d.Message.ID == "slow" && slow.Add(1) == 1 {
				begun <- struct{}{}
				<-release
				return errDown
			}
			if d.Message.ID == "slow" && d.Attempt != 1 {
				dep.errs <- "it counted"
			}
			return dep.handle(ctx, d)
		})
	publishTx(t, b, "slow")
	next(t, begun)
	for range 6 {
		publishTx(t, b, newTx())
	}
	eventually(t, "open", func() bool { return dep.state.Load() != wire.BreakerClosed })
	dep.down.Store(false)
	eventually(t, "closed", func() bool { return dep.state.Load() == wire.BreakerClosed })
	close(release)
	eventually(t, "tried again", func() bool { return dep.handled.of("slow") == 1 })
	require.Empty(t, dep.errs)
}

// What the breaker does not see, a lone message that waits or a breaker that is
// off: nothing waits in its worker for long.
func TestWaitingEndsAtTheQueuesEnd(t *testing.T) {
	b, _ := consuming(t)
	got := make(chan string, 100)
	b.patience.Wait = time.Nanosecond
	b.testConsumer(t, func(o *Subscription) { o.Concurrency, o.Breaker.Off = 1, true }, func(_ context.Context, d Delivery) error {
		got <- d.Message.ID
		return Wait(errDown)
	})
	publishTx(t, b, "a")
	require.Equal(t, "a", next(t, got))
	publishTx(t, b, "b")
	seen := map[string]int{}
	for seen["a"] < 3 || seen["b"] < 3 {
		seen[next(t, got)]++
	}
	require.Zero(t, ready(t, b, b.DeadQueue()))
}

// With all handlers busy for long, what was fetched ahead goes to others.
func TestBusyProcessGivesBack(t *testing.T) {
	b, _ := consuming(t)
	begun, release := make(chan struct{}, 100), make(chan struct{})
	b.patience.Unbegun = time.Millisecond
	b.testConsumer(t, func(o *Subscription) { o.Concurrency = 1 }, func(context.Context, Delivery) error {
		begun <- struct{}{}
		<-release
		return nil
	})
	const all = 10
	for range all {
		publishTx(t, b, newTx())
	}
	next(t, begun)
	eventually(t, "given back", func() bool { return ready(t, b, b.ConsumerQueue("c")) == all-1 })
	other := open(t, b.o.URL, b.o.Prefix, nil)
	got := make(chan Delivery, all)
	other.testConsumer(t, nil, func(_ context.Context, d Delivery) error { got <- d; return nil })
	for range all - 1 {
		next(t, got)
	}
	close(release)
}

// The consumer's status, as a process answers it.
func TestConsumerStatus(t *testing.T) {
	c := &consumer.Consumer{O: Subscription{Name: "c", Breaker: holdfast.BreakerOptions{Failures: 1}.WithDefaults()}, Host: consumer.Host{Client: detached(Options{}).c}}
	c.Log = Options{}.withDefaults().Logger
	c.Gate = consumer.NewGate(c.O.Breaker, c.BreakerChanged)
	require.Equal(t, wire.ConsumerStatus{Name: "c", Breaker: wire.BreakerClosed}, c.Status())
	c.Begin()
	era, _ := c.Gate.Enter(consumer.Candidate{ID: "a"})
	c.Gate.Failure(era, "a", false, fmt.Errorf("no\nroute"))
	s := c.Status()
	require.Equal(t, wire.BreakerOpen, s.Breaker)
	require.Equal(t, "no route", s.Error)
	require.Equal(t, 1, s.Handling)
	require.False(t, s.Since.IsZero())
}

// A consumer that may hold a message for longer than RabbitMQ lets it is warned of at its
// beginning, and its process tells how long that is.
func TestTimeoutBeyondConsumerTimeout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		timeout, limit time.Duration
		warned         bool
	}{{15 * time.Minute, 0, true}, {15 * time.Minute, time.Hour, false}, {9 * time.Minute, 0, false}, {math.MaxInt64 / 2, -1, false}, {math.MaxInt64 / 2, 0, true}} {
		b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.ConsumerTimeout = c.limit })
		logged := watchLog(b)
		b.testConsumer(t, func(o *Subscription) { o.HandlerTimeout = c.timeout }, func(context.Context, Delivery) error { return nil })
		eventually(t, "it is shown", func() bool { return len(b.board.Status(wire.StatusRequest{}).Consumers) == 1 })
		require.Equal(t, c.warned, logged.contains("consumer_timeout"), "%+v", c)
		shown := b.board.Status(wire.StatusRequest{}).Consumers[0]
		require.Equal(t, c.limit, shown.Limit)
		require.Greater(t, shown.Holds, c.timeout)
	}
}

// What is given back untried does not look lost; but what may have been lost
// before must still look so, and what is a suspect must stay one.
func TestMovedBackAsItCame(t *testing.T) {
	b, ctx := consuming(t)
	c := &consumer.Consumer{Host: consumer.Host{Client: b.c}, O: Subscription{Name: "c"}, Queue: b.ConsumerQueue("c"), Log: b.c.Log, Handlers: ctx}
	rawChannel(t, b, func(ch *amqp.Channel) {
		get := func(queue string) (d amqp.Delivery) {
			eventually(t, "there", func() bool {
				var ok bool
				var err error
				d, ok, err = ch.Get(queue, false)
				require.NoError(t, err)
				return ok
			})
			return d
		}
		publishTx(t, b, "a")
		d := get(c.Queue)
		c.MoveBack(&d)
		d = get(c.Queue)
		require.False(t, d.Redelivered)
		require.Equal(t, "order.placed", d.Headers[wire.HeaderRoutingKey])
		require.NoError(t, d.Nack(false, true))
		d = get(c.Queue)
		require.True(t, d.Redelivered)
		c.MoveBack(&d)
		d = get(c.Queue)
		require.True(t, d.Redelivered, "it would be forgotten that it may have been lost")
		require.NoError(t, d.Ack(false))

		publishRaw(t, b, b.QueuesExchange(), b.AloneQueue("c"), amqp.Publishing{MessageId: "s", Headers: amqp.Table{wire.HeaderLost: "2"}})
		d = get(b.AloneQueue("c"))
		c.GiveBack(&consumer.Work{J: &consumer.Job{D: d, Alone: true}})
		d = get(b.AloneQueue("c"))
		require.False(t, d.Redelivered)
		require.Equal(t, "2", d.Headers[wire.HeaderLost])
	})
}

// Where there is no other message, one that was lost several times is the probe.
func TestSuspectIsAProbe(t *testing.T) {
	b, _ := consuming(t)
	dep := newDependency()
	dep.down.Store(true)
	b.patience.LookEvery = 10 * time.Millisecond
	b.testConsumer(t, func(o *Subscription) {
		o.Tries, o.Ladder, o.Observe = 1, rungs(1), dep.observe
		o.Breaker = holdfast.BreakerOptions{Failures: 1, Pause: 10 * time.Millisecond, MaxPause: 10 * time.Millisecond}
	}, dep.handle)
	publishTx(t, b, "first")
	eventually(t, "probed", func() bool { return dep.probes.sum() > 0 })
	// Another process takes it.
	taken := make(chan string, 10)
	stop := b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { taken <- d.TxID; return nil })
	require.Equal(t, "first", next(t, taken))
	stop()
	eventually(t, "nothing to probe with", func() bool {
		return dep.state.Load() == wire.BreakerProbing && ready(t, b, b.ConsumerQueue("c")) == 0
	})
	dep.down.Store(false)
	publishRaw(t, b, b.QueuesExchange(), b.AloneQueue("c"), amqp.Publishing{MessageId: "suspect", Headers: amqp.Table{wire.HeaderLost: "2"}})
	eventually(t, "tried", func() bool { return dep.handled.of("suspect") == 1 })
	eventually(t, "closed", func() bool { return dep.state.Load() == wire.BreakerClosed })
}

// A probe whose channel is lost before its handler begins does not stay under
// way: nothing else would ever be tried.
func TestProbeThatNeverBegins(t *testing.T) {
	b, ctx := consuming(t)
	c := &consumer.Consumer{Host: consumer.Host{Client: b.c}, O: Subscription{Name: "c"}, Log: b.c.Log, Handlers: ctx}
	c.Gate = consumer.NewGate(quick.WithDefaults(), func(consumer.Change) {})
	c.Gate.B.To(wire.BreakerProbing, time.Now())
	era, e := c.Gate.Enter(consumer.Candidate{ID: "a"})
	require.Equal(t, consumer.EntryTry, e)
	w := consumer.Work{J: &consumer.Job{}, Era: era}
	rawChannel(t, b, func(ch *amqp.Channel) { w.J.Ch = ch }) // and closes it
	c.TryOut(&w)
	_, e = c.Gate.Enter(consumer.Candidate{ID: "a"})
	require.Equal(t, consumer.EntryTry, e)
}
