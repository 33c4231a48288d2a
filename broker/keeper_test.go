package broker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// keeping is a running Keeper and what it did.
type keeping struct {
	stop  func()
	taken *tally // by transaction

	mu    sync.Mutex
	stats KeeperStats
}

func (k *keeping) now() KeeperStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stats
}

func keep(t *testing.T, b *Broker, change func(*KeeperOptions)) *keeping {
	t.Helper()
	k := &keeping{taken: &tally{}}
	o := KeeperOptions{Group: "g",
		HandOver: func(_ context.Context, halves []holdfast.Half) []error {
			for _, h := range halves {
				k.taken.add(h.TxID)
			}
			return make([]error, len(halves))
		},
		Stats: func(s KeeperStats) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.stats = s
		}}
	if change != nil {
		change(&o)
	}
	k.stop = background(t, func(ctx context.Context) error { return b.Keep(ctx, o) })
	return k
}

func later(o *KeeperOptions) { o.CheckAfter = time.Hour }
func soon(o *KeeperOptions)  { o.CheckAfter = 10 * time.Millisecond }

// soonAfterOps is for halves whose op records are in the queue behind them: a slow machine
// reads these in time.
func soonAfterOps(o *KeeperOptions) { o.CheckAfter = 5 * time.Second }

func halfQueue(t *testing.T) (*Broker, context.Context) {
	t.Helper()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	return b, ctx
}

// A half queue that is gone and made anew by the next publish has its Keeper again,
// which stores again what it held.
func TestHalfQueueDeletedUnderKeeper(t *testing.T) {
	b, ctx := halfQueue(t)
	k := keep(t, b, later)
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	eventually(t, "held", func() bool { return k.now().Held == 1 })
	for n := uint64(2); n <= 6; n++ {
		rawChannel(t, b, func(ch *amqp.Channel) {
			_, err := ch.QueueDelete(b.HalfQueue("g"), false, false, false)
			require.NoError(t, err)
		})
		require.NoError(t, b.PublishHalf(ctx, half(newTx(), "g")))
		eventually(t, "subscribed anew, and held", func() bool { return k.now().Subscriptions == n && k.now().Held == int(n) })
	}
}

// nothingHeld ends the Keeper and looks whether the half queue is empty. RabbitMQ
// may still be busy with the last acknowledgements.
func nothingHeld(t *testing.T, b *Broker, k *keeping) {
	t.Helper()
	k.stop()
	eventually(t, "the half queue is empty", func() bool { return ready(t, b, b.HalfQueue("g")) == 0 })
}

func TestKeeperForgetsSettledHalves(t *testing.T) {
	b, ctx := halfQueue(t)
	k := keep(t, b, later)
	var txs []string
	for range 50 {
		tx := newTx()
		txs = append(txs, tx)
		require.NoError(t, b.PublishHalf(ctx, half(tx, "g")))
	}
	eventually(t, "held", func() bool { return k.now().Held == 50 })
	for i, tx := range txs {
		b.Settle("g", tx, []holdfast.Resolution{holdfast.Commit, holdfast.Rollback}[i%2])
	}
	eventually(t, "matched", func() bool { return k.now().Matched == 50 && k.now().Held == 0 })
	require.Zero(t, k.taken.distinct())
	nothingHeld(t, b, k)
}

func TestKeeperOpBeforeHalf(t *testing.T) {
	b, ctx := halfQueue(t)
	b.Settle("g", "a", holdfast.Commit)
	require.NoError(t, b.Flush(ctx))
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	k := keep(t, b, later)
	eventually(t, "matched", func() bool { return k.now().Matched == 1 && k.now().Held == 0 })
	require.Zero(t, k.taken.distinct())
	nothingHeld(t, b, k)
}

func TestKeeperHandsOver(t *testing.T) {
	b, ctx := halfQueue(t)
	for _, tx := range []string{"a", "b", "b", "c"} {
		require.NoError(t, b.PublishHalf(ctx, half(tx, "g")))
	}
	var once sync.Once
	k := keep(t, b, func(o *KeeperOptions) {
		soon(o)
		take := o.HandOver
		o.HandOver = func(ctx context.Context, halves []holdfast.Half) []error {
			errs := take(ctx, halves)
			once.Do(func() { panic("not at once") })
			return errs
		}
	})
	eventually(t, "taken over", func() bool { return k.now().HandedOver == 3 && k.now().Held == 0 })
	require.NotZero(t, k.now().Failed, "the panic was an error of its halves")
	require.Equal(t, 3, k.taken.distinct())
	nothingHeld(t, b, k)
}

// What was not taken over is not acknowledged, whatever happens.
func TestKeeperNeverDropsWhatWasRefused(t *testing.T) {
	b, ctx := halfQueue(t)
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	k := keep(t, b, func(o *KeeperOptions) {
		soon(o)
		o.HandOver = func(_ context.Context, halves []holdfast.Half) []error {
			errs := make([]error, len(halves))
			for i := range errs {
				errs[i] = errors.New("Temporal is away")
			}
			return errs
		}
	})
	eventually(t, "refused", func() bool { return k.now().Failed > 0 })
	k.stop()
	eventually(t, "what was held is given back", func() bool { return ready(t, b, b.HalfQueue("g")) == 1 })
	k = keep(t, b, soon)
	eventually(t, "taken over", func() bool { return k.now().HandedOver == 1 })
	nothingHeld(t, b, k)
}

// Too few results count as failures.
func TestKeeperTooFewResults(t *testing.T) {
	b, ctx := halfQueue(t)
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	k := keep(t, b, func(o *KeeperOptions) {
		soon(o)
		o.HandOver = func(context.Context, []holdfast.Half) []error { return nil }
	})
	eventually(t, "refused", func() bool { return k.now().Failed > 0 })
	k.stop()
	eventually(t, "what was held is given back", func() bool { return ready(t, b, b.HalfQueue("g")) == 1 })
}

// Malformed records and those of another group go to the dead letters and block
// nothing.
func TestKeeperMalformedRecords(t *testing.T) {
	b, ctx := halfQueue(t)
	foreign, err := wire.EncodeHalf(half("x", "other"))
	require.NoError(t, err)
	rawChannel(t, b, func(ch *amqp.Channel) {
		for _, p := range []amqp.Publishing{
			{Body: []byte("who am I?")},
			{Headers: amqp.Table{wire.HeaderKind: wire.KindHalf, wire.HeaderVersion: wire.Version}, Body: []byte("{")},
			{Headers: amqp.Table{wire.HeaderKind: wire.KindOp, wire.HeaderVersion: wire.Version, wire.HeaderGroup: "g"}, Body: []byte("[]")},
			foreign,
		} {
			require.NoError(t, ch.Publish(b.HalfExchange(), b.HalfQueue("g"), false, false, p))
		}
	})
	require.NoError(t, b.PublishHalf(ctx, half("good", "g")))
	k := keep(t, b, soon)
	eventually(t, "all", func() bool { s := k.now(); return s.HandedOver == 1 && s.Malformed == 4 && s.Held == 0 })
	reasons := map[string]bool{}
	for _, d := range takeAll(t, b, b.DeadQueue(), 4) {
		require.EqualValues(t, holdfast.ClassMalformed, d.Headers[wire.HeaderErrorClass])
		require.Equal(t, b.HalfQueue("g"), d.Headers[wire.HeaderQueue])
		reasons[d.Headers[wire.HeaderReason].(string)] = true
	}
	require.Len(t, reasons, 4)
	require.Contains(t, reasons, `holdfast: malformed: half record of group "other" in the half queue of "g"`)
	nothingHeld(t, b, k)
}

// A malformed record is held until the dead letters have it.
func TestKeeperNoAckWithoutStoredDeadLetter(t *testing.T) {
	b, _ := halfQueue(t)
	b.c.PublishTimeout = 5 * time.Second // also for what is published later, on a slow machine
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Publish("", b.HalfQueue("g"), false, false, amqp.Publishing{Body: []byte("?")}))
	})
	b.c.Publishing.SetBlocked(amqp.Blocking{Active: true, Reason: "test"})
	k := keep(t, b, later)
	eventually(t, "held", func() bool { return k.now().Held == 1 })
	k.stop()
	eventually(t, "what was held is given back", func() bool { return ready(t, b, b.HalfQueue("g")) == 1 })
	require.Zero(t, ready(t, b, b.DeadQueue()))
	b.c.Publishing.SetBlocked(amqp.Blocking{})
	k = keep(t, b, later)
	require.Equal(t, "?", string(take(t, b, b.DeadQueue()).Body))
	nothingHeld(t, b, k)
}

// Of two Keepers one is active; the other takes its place with everything that
// it held.
func TestTwoKeepers(t *testing.T) {
	b, ctx := halfQueue(t)
	other := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
	first := keep(t, b, later)
	eventually(t, "subscribed", func() bool { return first.now().Subscribed })
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	eventually(t, "held", func() bool { return first.now().Held == 1 })
	second := keep(t, other, soon)
	eventually(t, "subscribed", func() bool { return second.now().Subscribed })
	require.NoError(t, b.PublishHalf(ctx, half("b", "g")))
	eventually(t, "held", func() bool { return first.now().Held == 2 })
	require.Zero(t, second.now().Held, "only one is active")
	first.stop()
	eventually(t, "taken over", func() bool { return second.now().HandedOver == 2 })
	nothingHeld(t, other, second)
}

// A Keeper that loses its connection with halves held, or between a hand-over
// and its acknowledgement, gets them again.
func TestKeeperConnectionLost(t *testing.T) {
	for _, point := range []string{fault.KeeperHolding, fault.KeeperBeforeAck} {
		t.Run(point, func(t *testing.T) {
			b, ctx := halfQueue(t)
			require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
			var once sync.Once
			hit := make(chan struct{})
			fault.Set(func(name string) {
				if name == point {
					once.Do(func() { cutConnections(b); close(hit) })
				}
			})
			defer fault.Set(nil)
			k := keep(t, b, soon)
			next2(t, hit)
			eventually(t, "subscribed again", func() bool { return k.now().Subscriptions > 1 })
			// It comes behind what came again.
			require.NoError(t, b.PublishHalf(ctx, half("z", "g")))
			eventually(t, "taken over", func() bool { return k.taken.of("z") > 0 && k.now().Held == 0 })
			require.NotZero(t, k.taken.of("a"))
			nothingHeld(t, b, k)
		})
	}
}

// RabbitMQ is killed while halves are held.
func TestKeeperRabbitMQKilled(t *testing.T) {
	t.Parallel()
	s := stacktest.PrivateRabbitMQ(t)
	b := open(t, s.AMQPURL(), "keeper", nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	settleQueues(t, s.RabbitMQ)
	for _, tx := range []string{"a", "b", "c"} {
		require.NoError(t, b.PublishHalf(ctx, half(tx, "g")))
	}
	k := keep(t, b, later)
	eventually(t, "held", func() bool { return k.now().Held == 3 })
	require.NoError(t, s.RabbitMQ.Kill())
	b.Settle("g", "a", holdfast.Commit)
	require.NoError(t, s.RabbitMQ.Start(ctx))
	eventually(t, "held again, and one settled", func() bool { return k.now().Held == 2 && k.now().Matched == 1 })
	k.stop()
	k = keep(t, b, soon)
	eventually(t, "taken over", func() bool { return k.now().HandedOver == 2 })
	require.Zero(t, k.taken.of("a"))
	nothingHeld(t, b, k)
}

// Halves that nobody settles must not keep the ops behind them out.
func TestKeeperFullWindow(t *testing.T) {
	b, ctx := halfQueue(t)
	for range 40 {
		require.NoError(t, b.PublishHalf(ctx, half(newTx(), "g")))
	}
	require.NoError(t, b.PublishHalf(ctx, half("last", "g")))
	b.Settle("g", "last", holdfast.Commit)
	require.NoError(t, b.Flush(ctx))
	k := keep(t, b, func(o *KeeperOptions) { later(o); o.Window = 10 })
	eventually(t, "the op behind them", func() bool { return k.now().Matched == 1 })
	require.Zero(t, k.taken.of("last"))
	k.stop()
	require.Less(t, ready(t, b, b.HalfQueue("g")), 10, "the rest waits for its time")
}

func TestKeeperOptionsAreChecked(t *testing.T) {
	b, ctx := halfQueue(t)
	hand := func(context.Context, []holdfast.Half) []error { return nil }
	for name, o := range map[string]KeeperOptions{
		"no group":     {HandOver: hand},
		"no hand-over": {Group: "g"},
		"window":       {Group: "g", HandOver: hand, Window: 1},
		"negative":     {Group: "g", HandOver: hand, CheckAfter: -1},
	} {
		require.ErrorIs(t, b.Keep(ctx, o), holdfast.ErrInvalid, name)
	}
}
