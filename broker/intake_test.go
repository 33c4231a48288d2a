package broker

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func deadQueueOf(t *testing.T) (*Broker, context.Context) {
	t.Helper()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.PublishTimeout = 20 * time.Second })
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.*"}))
	return b, ctx
}

// takeOver empties the queue of dead letters into take.
func takeOver(t *testing.T, b *Broker, change func(*DeadOptions), take func(ctx context.Context, r DeadRecord) error) (stop func()) {
	t.Helper()
	o := DeadOptions{Take: take}
	if change != nil {
		change(&o)
	}
	return background(t, func(ctx context.Context) error { return b.ConsumeDead(ctx, o) })
}

// die makes a dead letter of a message with this ID.
func die(t *testing.T, b *Broker, id string, change func(d *amqp.Delivery)) {
	t.Helper()
	d := placed(func(d *amqp.Delivery) {
		d.MessageId, d.Headers[wire.HeaderTx] = id, id
		if change != nil {
			change(d)
		}
	})
	p := wire.EncodeDead(d, wire.DeathOf(b.ConsumerQueue("c"), "c", 3, errors.New("no"), deathTime))
	p.Headers[wire.HeaderPolicy] = `{"action":"compensate"}`
	require.NoError(t, b.c.PublishDead(testContext(t), p))
}

// empty waits until nothing is in the queue of dead letters. A record whose
// acknowledgement was lost comes once more: somebody has to take it.
func empty(t *testing.T, b *Broker, stop func()) {
	t.Helper()
	stop()
	for range 20 {
		again := takeOver(t, b, nil, func(context.Context, DeadRecord) error { return nil })
		eventually(t, "nothing left", func() bool { return ready(t, b, b.DeadQueue()) == 0 })
		again() // and it gives back what it has not acknowledged yet
		if ready(t, b, b.DeadQueue()) == 0 {
			return
		}
	}
	require.FailNow(t, "something comes again and again")
}

func TestIntakeOfEveryKind(t *testing.T) {
	b, ctx := deadQueueOf(t)
	letters, answers := make(chan *holdfast.DeadLetter, 10), make(chan *wire.HandledRecord, 10)
	stop := takeOver(t, b, nil, func(_ context.Context, r DeadRecord) error {
		if r.Handled != nil {
			answers <- r.Handled
		} else {
			letters <- r.Letter
		}
		return nil
	})

	die(t, b, "ours", nil)
	l := next(t, letters)
	require.Equal(t, "ours", l.ID)
	require.Equal(t, holdfast.Failure{Consumer: "c", Class: holdfast.ClassError, Reason: "no", Attempts: 3, At: deathTime}, l.Failure)
	require.Equal(t, "hello", string(l.Message.Body))

	require.NoError(t, b.c.PublishHandled(ctx, wire.EncodeHandled(b.ConsumerQueue("c"), "c", "m", "", 3)))
	require.Equal(t, &wire.HandledRecord{Consumer: "c", Queue: b.ConsumerQueue("c"), MessageID: "m", Redelivery: 3}, next(t, answers))

	// What RabbitMQ drops: expired in the consumer's queue, and refused there.
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Publish(b.TopicsExchange(), "order.late", false, false, amqp.Publishing{MessageId: "late", Expiration: "1", Body: []byte("x")}))
	})
	l = next(t, letters)
	require.Equal(t, "late", l.ID)
	require.Equal(t, "c", l.Failure.Consumer)
	require.Equal(t, holdfast.ClassDropped, l.Failure.Class)
	require.Contains(t, l.Failure.Reason, "time to live")
	require.Equal(t, "order.late", l.Message.Topic)
	require.Equal(t, b.TopicsExchange(), l.Envelope.Exchange)
	require.False(t, l.Failure.At.IsZero())
	require.Empty(t, l.Envelope.Headers, "nothing of what RabbitMQ adds")

	publishTx(t, b, "refused")
	rawChannel(t, b, func(ch *amqp.Channel) {
		var d amqp.Delivery
		eventually(t, "delivered", func() (ok bool) {
			var err error
			d, ok, err = ch.Get(b.ConsumerQueue("c"), false)
			require.NoError(t, err)
			return ok
		})
		require.NoError(t, d.Reject(false))
		l = next(t, letters)
	})
	require.Equal(t, "refused", l.ID)
	require.Contains(t, l.Failure.Reason, "refused it for good")

	// What somebody else put there.
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Publish("", b.DeadQueue(), false, false, amqp.Publishing{Body: []byte{0xff}}))
	})
	l = next(t, letters)
	require.Equal(t, holdfast.ClassMalformed, l.Failure.Class)
	require.Equal(t, b.DeadQueue(), l.Queue)
	require.Equal(t, []byte{0xff}, l.Message.Body)
	empty(t, b, stop)
}

// A message waits in a delay queue for its consumer's queue, which is deleted.
func TestIntakeOfARetryWithoutQueue(t *testing.T) {
	b, _ := deadQueueOf(t)
	delay, exit, queue := b.o.Prefix+".retry.1ms", b.o.Prefix+".retry", b.ConsumerQueue("gone")
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.ExchangeDeclare(b.DeadQueue(), amqp.ExchangeFanout, true, false, false, false, nil))
		require.NoError(t, ch.QueueBind(b.DeadQueue(), "", b.DeadQueue(), false, nil))
		require.NoError(t, ch.ExchangeDeclare(exit, amqp.ExchangeDirect, true, false, false, false, amqp.Table{"alternate-exchange": b.DeadQueue()}))
		args := b.topo.Guarded()
		delete(args, "x-dead-letter-routing-key")
		args["x-dead-letter-exchange"], args["x-message-ttl"] = exit, int64(1)
		_, err := ch.QueueDeclare(delay, true, false, false, false, args)
		require.NoError(t, err)
		require.NoError(t, ch.ExchangeDeclare(delay, amqp.ExchangeFanout, true, false, false, false, nil))
		require.NoError(t, ch.QueueBind(delay, "", delay, false, nil))
		require.NoError(t, ch.Publish(delay, queue, false, false, amqp.Publishing{MessageId: "m", Body: []byte("x"), DeliveryMode: amqp.Persistent,
			Headers: amqp.Table{wire.HeaderAttempts: "4", wire.HeaderReason: "no answer", wire.HeaderExchange: "shop", wire.HeaderRoutingKey: "their.topic"}}))
	})
	letters := make(chan *holdfast.DeadLetter, 1)
	takeOver(t, b, nil, func(_ context.Context, r DeadRecord) error { letters <- r.Letter; return nil })
	l := next(t, letters)
	require.Equal(t, "gone", l.Failure.Consumer)
	require.Equal(t, queue, l.Queue)
	require.Equal(t, 4, l.Failure.Attempts)
	require.Contains(t, l.Failure.Reason, "is gone")
	require.Contains(t, l.Failure.Reason, "no answer")
	require.Equal(t, "their.topic", l.Message.Topic)
}

// Take fails for a while, the connection is cut meanwhile, several processes take
// over: nothing is lost.
func TestIntakeLosesNothing(t *testing.T) {
	b, _ := deadQueueOf(t)
	const all = 1000
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() {
			for i := range all / 10 {
				die(t, b, newTx(), func(d *amqp.Delivery) { d.Body = []byte{byte(w), byte(i)} })
			}
		})
	}
	wg.Wait()
	var healed atomic.Bool
	var refused atomic.Int64
	var taken tally
	take := func(_ context.Context, r DeadRecord) error {
		if !healed.Load() {
			if refused.Add(1)%2 == 0 {
				panic("no")
			}
			return errors.New("Temporal is away")
		}
		taken.add(r.Letter.ID)
		return nil
	}
	other := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
	stops := []func(){takeOver(t, b, nil, take), takeOver(t, other, nil, take)}
	eventually(t, "refused", func() bool { return refused.Load() > 200 })
	cutConnections(b)
	require.Zero(t, taken.distinct())
	healed.Store(true)
	eventually(t, "half", func() bool { return taken.distinct() > all/2 })
	cutConnections(b)
	eventually(t, "all", func() bool { return taken.distinct() == all })
	stops[0]()
	empty(t, other, stops[1])
	taken.mu.Lock()
	defer taken.mu.Unlock()
	total := 0
	for _, n := range taken.ids {
		total += n
	}
	require.LessOrEqual(t, total, all+2*32, "again is only what was held when the connection was cut")
}

// More records fail always than can be held at once; they are not lost, and do
// not hold up the others.
func TestIntakeGoesOnPastRecordsThatAlwaysFail(t *testing.T) {
	b, _ := deadQueueOf(t)
	for range 12 {
		die(t, b, "bad-"+newTx(), nil)
	}
	for range 30 {
		die(t, b, newTx(), nil)
	}
	uri, err := amqp.ParseURI(b.o.URL)
	require.NoError(t, err)
	rawChannel(t, b, func(ch *amqp.Channel) { // RabbitMQ's own record is one that fails, too
		require.NoError(t, ch.Publish(b.TopicsExchange(), "order.late", false, false, amqp.Publishing{MessageId: "bad-late", Expiration: "1",
			UserId: uri.Username, Timestamp: deathTime, Headers: amqp.Table{"n": int32(7)}}))
	})
	var good, bad tally
	var first, again atomic.Pointer[holdfast.DeadLetter]
	b.holds.Crowded = time.Millisecond
	stop := takeOver(t, b, func(o *DeadOptions) { o.Prefetch, o.Concurrency = 4, 2 }, func(_ context.Context, r DeadRecord) error {
		if strings.HasPrefix(r.Letter.ID, "bad") {
			if bad.add(r.Letter.ID); r.Letter.ID == "bad-late" && !first.CompareAndSwap(nil, r.Letter) {
				again.Store(r.Letter)
			}
			return errors.New("never")
		}
		good.add(r.Letter.ID)
		return nil
	})
	eventually(t, "the good ones", func() bool { return good.distinct() == 30 && bad.distinct() == 13 && again.Load() != nil })
	stop()
	eventually(t, "the bad ones are still there", func() bool { return ready(t, b, b.DeadQueue()) == 13 })
	require.Equal(t, uri.Username, first.Load().Envelope.Headers[wire.HeaderUserID])
	require.Equal(t, first.Load(), again.Load(), "it says the same at the queue's end")
}

// A record is given back after a while, and comes again.
func TestIntakeGivesBack(t *testing.T) {
	b, ctx := deadQueueOf(t)
	require.NoError(t, b.c.PublishHandled(ctx, wire.EncodeHandled(b.ConsumerQueue("c"), "c", "m", "", 3)))
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: true, Reason: "test"}) // it cannot be put behind the others
	b.c.PublishTimeout = 10 * time.Millisecond
	var n, taken atomic.Int64
	b.holds.Refused = time.Millisecond
	stop := takeOver(t, b, nil, func(context.Context, DeadRecord) error {
		i := n.Add(1)
		if i == 3 {
			b.c.Publishing.SetBlocked(amqp.Blocking{Active: false})
		}
		if i < 10 {
			return errors.New("no")
		}
		taken.Add(1)
		return nil
	})
	eventually(t, "taken", func() bool { return taken.Load() > 0 && ready(t, b, b.DeadQueue()) == 0 })
	empty(t, b, stop)
}

func TestIntakeOfOversized(t *testing.T) {
	b, _ := deadQueueOf(t)
	body := bytes.Repeat([]byte("ä1"), 4<<10)
	var once sync.Once
	var killed atomic.Bool
	fault.Set(func(name string) {
		if name == fault.DeadKeptBeforeAck {
			once.Do(func() { killed.Store(true); cutConnections(b) }) // the ack is lost
		}
	})
	defer fault.Set(nil)
	die(t, b, "large", func(d *amqp.Delivery) {
		d.Body = body
		d.Headers["n"] = int32(7)
	})
	letters := make(chan *holdfast.DeadLetter, 10)
	stop := takeOver(t, b, func(o *DeadOptions) { o.MaxBody = 8 << 10 }, func(_ context.Context, r DeadRecord) error { letters <- r.Letter; return nil })
	for range 2 { // once more after the loss
		l := next(t, letters)
		require.Equal(t, "large", l.ID)
		require.Equal(t, len(body), l.Size)
		require.Equal(t, b.OversizedQueue(), l.Kept)
		require.Equal(t, body[:4095], l.Message.Body, "whole characters of the first 4 KiB")
		require.Equal(t, holdfast.PolicyCompensate, l.Policy.Action)
		require.Equal(t, "order.placed", l.Message.Topic)
		require.Equal(t, 3, l.Failure.Attempts)
	}
	require.True(t, killed.Load())
	empty(t, b, stop)
	for _, d := range takeAll(t, b, b.OversizedQueue(), 2) {
		require.Equal(t, body, d.Body)
		require.Equal(t, "large", d.MessageId)
		require.EqualValues(t, 7, d.Headers["n"], "as it was")
		require.EqualValues(t, 3, d.Priority)
		require.Equal(t, b.ConsumerQueue("c"), d.Headers[wire.HeaderQueue])
		require.NotContains(t, d.Headers, wire.HeaderPolicy)
		require.NotContains(t, d.Headers, wire.HeaderAttempts, "moved back, it begins anew")
	}
	// Headers that are too large for a workflow.
	die(t, b, "", func(d *amqp.Delivery) {
		d.MessageId = ""
		d.Headers["h"] = strings.Repeat("\x01", 90<<10)
		d.Body = make([]byte, 1<<20)
	})
	larger := make(chan *holdfast.DeadLetter, 10) // the first one may have come a third time
	takeOver(t, b, nil, func(_ context.Context, r DeadRecord) error { larger <- r.Letter; return nil })
	l := next(t, larger)
	require.Regexp(t, "^sha256-", l.ID)
	require.Equal(t, b.OversizedQueue(), l.Kept)
	require.NotContains(t, l.Message.Headers, "h")
	require.Equal(t, "north", l.Message.Headers["tenant"])
	kept := take(t, b, b.OversizedQueue())
	for kept.MessageId == "large" {
		kept = take(t, b, b.OversizedQueue())
	}
	require.Len(t, kept.Headers["h"], 90<<10)
}

// The end of ConsumeDead lets a running Take finish and gives back the rest.
func TestIntakeDrains(t *testing.T) {
	b, _ := deadQueueOf(t)
	for range 5 {
		die(t, b, newTx(), nil)
	}
	begun, release, stopped := make(chan struct{}, 5), make(chan struct{}), make(chan struct{})
	stop := takeOver(t, b, func(o *DeadOptions) { o.Concurrency = 1 }, func(ctx context.Context, _ DeadRecord) error {
		begun <- struct{}{}
		<-release
		return ctx.Err()
	})
	next(t, begun)
	go func() { stop(); close(stopped) }()
	eventually(t, "the others are given back", func() bool { return ready(t, b, b.DeadQueue()) == 4 })
	close(release)
	next2(t, stopped)
	require.Equal(t, 4, ready(t, b, b.DeadQueue()), "the one that was begun is taken over")
}

func TestDeadOptionsAreChecked(t *testing.T) {
	b, ctx := deadQueueOf(t)
	take := func(context.Context, DeadRecord) error { return nil }
	for name, o := range map[string]DeadOptions{
		"no Take":     {},
		"concurrency": {Take: take, Concurrency: -1},
		"prefetch":    {Take: take, Concurrency: 2, Prefetch: 1},
		"body":        {Take: take, MaxBody: holdfast.MaxBody + 1},
	} {
		require.ErrorIs(t, b.ConsumeDead(ctx, o), holdfast.ErrInvalid, name)
	}
}
