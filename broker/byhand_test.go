package broker

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func byHand(consumer string) ConsumerPause {
	return ConsumerPause{Consumer: consumer, By: "ann", Reason: "stock-taking", Since: time.Now()}
}

// of are the states of a consumer in all processes.
func of(all []wire.ProcessStatus, name string) (out []wire.ConsumerStatus) {
	for _, p := range all {
		for _, c := range p.Consumers {
			if c.Name == name {
				out = append(out, c)
			}
		}
	}
	return out
}

// untilPaused waits until n processes say that they heed a consumer's pause, or, for an empty ID,
// that there is none.
func untilPaused(t *testing.T, b *Broker, name string, n int, id string) []wire.ConsumerStatus {
	t.Helper()
	return of(answers(t, b, func(all []wire.ProcessStatus) bool {
		states := of(all, name)
		for _, c := range states {
			if !c.Pausable || (c.Paused == nil) != (id == "") || c.Paused != nil && c.Paused.ID != id {
				return false
			}
		}
		return len(states) == n
	}), name)
}

// untilWaiting waits until n messages are in a consumer's queue, and nobody reads it.
func untilWaiting(t *testing.T, b *Broker, name string, n int) {
	t.Helper()
	eventually(t, "the messages wait", func() bool {
		info, err := b.Inspect(testContext(t), b.ConsumerQueue(name))
		require.NoError(t, err)
		return info.Queues[0].Messages == n && info.Queues[0].Consumers == 0
	})
}

// TestPausedByHand: all processes of the consumer stop taking messages, those in hand end, other
// consumers go on, processes that begin later take none; then all goes on.
func TestPausedByHand(t *testing.T) {
	t.Parallel()
	b, ctx := consuming(t)
	other := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
	inHand, release, handled, elsewhere := make(chan string, 100), make(chan struct{}), new(tally), new(tally)
	handle := func(_ context.Context, d Delivery) error {
		inHand <- d.Message.ID
		<-release
		handled.add(d.Message.ID)
		return nil
	}
	one := func(o *Subscription) { o.Concurrency, o.Prefetch = 1, 20 }
	b.testConsumer(t, one, handle)
	other.testConsumer(t, one, handle)
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, Subscription{Name: "other", Topics: []string{"order.*"},
			Handle: func(_ context.Context, d Delivery) error { elsewhere.add(d.Message.ID); return nil }})
	})
	untilPaused(t, b, "c", 2, "")
	untilPaused(t, b, "other", 1, "")
	const all = 10
	for i := range all {
		publishTx(t, b, strconv.Itoa(i))
	}
	next(t, inHand)
	next(t, inHand) // one in each process

	p, err := b.PauseConsumer(ctx, byHand("c"), 0)
	require.NoError(t, err)
	for _, c := range untilPaused(t, b, "c", 2, p.ID) {
		require.Equal(t, "ann", c.Paused.By)
		require.Equal(t, "stock-taking", c.Paused.Reason)
		require.Equal(t, wire.BreakerClosed, c.Breaker, "a pause is not the breaker's")
	}
	close(release)
	eventually(t, "what was in hand ends", func() bool { return handled.sum() == 2 })
	untilWaiting(t, b, "c", all-2)
	eventually(t, "other consumers go on", func() bool { return elsewhere.sum() == all })

	later := open(t, stacktest.Shared(t).AMQPURL(), b.o.Prefix, nil)
	stop := later.testConsumer(t, one, handle)
	untilPaused(t, b, "c", 3, p.ID)
	untilWaiting(t, b, "c", all-2)
	require.Equal(t, 2, handled.sum(), "who begins later takes nothing")
	paused, err := later.PausedConsumers(ctx)
	require.NoError(t, err)
	require.Len(t, paused, 1)
	require.Equal(t, p.ID, paused[0].ID)
	stop()

	again, err := later.PauseConsumer(ctx, byHand("c"), 0)
	require.NoError(t, err)
	untilPaused(t, b, "c", 2, again.ID)
	ended, err := later.ResumeConsumer(ctx, "c", "bob", "counted")
	require.NoError(t, err)
	require.Len(t, ended, 1, "a second pause takes the place of the first")
	eventually(t, "all goes on", func() bool { return handled.sum() == all })
	past, err := b.PastPauses(ctx)
	require.NoError(t, err)
	require.Len(t, past, 2)
	require.Equal(t, []string{again.ID, "bob", "counted"}, []string{past[0].ID, past[0].EndedBy, past[0].EndedReason})
	require.True(t, past[0].Over && past[1].Over)
	_, err = b.ResumeConsumer(ctx, "c", "bob", "counted")
	require.ErrorIs(t, err, ErrNotPaused)
}

// TestPauseThatEndsByItself needs nobody then: neither who asked for it, nor another process.
func TestPauseThatEndsByItself(t *testing.T) {
	b, ctx := consuming(t)
	p, err := b.PauseConsumer(ctx, byHand("c"), MinPause)
	require.NoError(t, err)
	require.Equal(t, p.Since.Add(MinPause), p.Until)
	eventually(t, "it ends", func() bool {
		all, err := b.PausedConsumers(ctx)
		require.NoError(t, err)
		return len(all) == 0
	})
	// One that was resumed before its end is not touched by that, nor is the one after it.
	_, err = b.PauseConsumer(ctx, byHand("c"), MinPause)
	require.NoError(t, err)
	stays, err := b.PauseConsumer(ctx, byHand("c"), 0)
	require.NoError(t, err)
	short, err := b.PauseConsumer(ctx, byHand("d"), MinPause) // its end comes after the first one's
	require.NoError(t, err)
	eventually(t, "both ends have come", func() bool {
		all, err := b.PausedConsumers(ctx)
		require.NoError(t, err)
		return len(all) == 1 && all[0].ID == stays.ID && all[0].ID != short.ID
	})
}

// TestPauseSurvivesRabbitMQ and all processes.
func TestPauseSurvivesRabbitMQ(t *testing.T) {
	t.Parallel()
	s := stacktest.PrivateRabbitMQ(t)
	b := open(t, s.AMQPURL(), stacktest.Prefix(t), nil)
	ctx, handled := testContext(t), new(tally)
	handle := func(_ context.Context, d Delivery) error { handled.add(d.Message.ID); return nil }
	stop := b.testConsumer(t, nil, handle)
	untilPaused(t, b, "c", 1, "")
	settleQueues(t, s.RabbitMQ)
	p, err := b.PauseConsumer(ctx, byHand("c"), 0)
	require.NoError(t, err)
	untilPaused(t, b, "c", 1, p.ID)
	publishTx(t, b, "waits")
	require.NoError(t, s.RabbitMQ.Restart(ctx))
	untilPaused(t, b, "c", 1, p.ID)
	untilWaiting(t, b, "c", 1)
	stop()
	later := open(t, s.AMQPURL(), b.o.Prefix, nil)
	later.testConsumer(t, nil, handle)
	untilPaused(t, b, "c", 1, p.ID)
	untilWaiting(t, b, "c", 1)
	require.Zero(t, handled.sum())
	_, err = later.ResumeConsumer(ctx, "c", "bob", "counted")
	require.NoError(t, err)
	eventually(t, "it goes on", func() bool { return handled.sum() == 1 })
}

// TestWhoCannotPause: what comes through another exchange is no pause.
func TestWhoCannotPause(t *testing.T) {
	b, ctx := consuming(t)
	handled := make(chan string, 10)
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { handled <- d.Message.ID; return nil })
	untilPaused(t, b, "c", 1, "")
	p := byHand("c")
	p.ID = uuid.NewString()
	body, err := json.Marshal(map[string]any{"v": 1, "pause": p})
	require.NoError(t, err)
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.PublishWithContext(ctx, "", b.PausesExchange(), true, false, amqp.Publishing{
			Headers: amqp.Table{wire.HeaderKind: wire.KindPause}, DeliveryMode: amqp.Persistent, Body: body}))
	})
	real, err := b.PauseConsumer(ctx, byHand("d"), 0) // comes after it
	require.NoError(t, err)
	all, err := b.PausedConsumers(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{real.ID}, []string{all[0].ID})
	publishTx(t, b, "a")
	require.Equal(t, "a", next(t, handled))
	for _, c := range []struct {
		p     ConsumerPause
		lasts time.Duration
	}{
		{ConsumerPause{Consumer: "a b", By: "ann", Reason: "x"}, 0}, {ConsumerPause{Consumer: "c", Reason: "x"}, 0},
		{ConsumerPause{Consumer: "c", By: "ann"}, 0}, {byHand("c"), time.Millisecond}, {byHand("c"), MaxPause + 1},
	} {
		_, err := b.PauseConsumer(ctx, c.p, c.lasts)
		require.ErrorIs(t, err, holdfast.ErrInvalid)
	}
}

// TestSignedPauses: where signatures are required, who has no key pauses nobody, and a pause
// that ends in its time does.
func TestSignedPauses(t *testing.T) {
	signer, _ := newSigner(t)
	prefix := stacktest.Prefix(t)
	b := signing(t, prefix, signer, holdfast.SigningRequired)
	stranger := open(t, stacktest.Shared(t).AMQPURL(), prefix, nil)
	forged, err := stranger.PauseConsumer(t.Context(), byHand("c"), 0)
	require.NoError(t, err)
	lasting, err := b.PauseConsumer(t.Context(), byHand("c"), 0)
	require.NoError(t, err)
	_, err = stranger.ResumeConsumer(t.Context(), "c", "eve", "x")
	require.NoError(t, err)
	brief, err := b.PauseConsumer(t.Context(), byHand("d"), time.Second)
	require.NoError(t, err)
	require.NotEqual(t, forged.ID, lasting.ID)
	for range 2 {
		_, err = b.PausedConsumers(t.Context())
		require.NoError(t, err)
	}
	require.Zero(t, b.c.Signatures.Status().Refused, "what is read again and again is not refused anew each time")
	require.Eventually(t, func() bool {
		all, err := b.PausedConsumers(t.Context())
		require.NoError(t, err)
		return len(all) == 1 && all[0].ID == lasting.ID
	}, 2*time.Minute, 50*time.Millisecond, "that of %s ends, and only what is signed counts", brief.ID)
}

// TestPausesBesideEachOther: who ends one ends no other; one that only a process tells of ends with
// the rest.
func TestPausesBesideEachOther(t *testing.T) {
	b, ctx := consuming(t)
	first, err := b.PauseConsumer(ctx, byHand("c"), 0)
	require.NoError(t, err)
	second, err := b.PauseBeside(ctx, byHand("c"))
	require.NoError(t, err)
	all, err := b.PausedConsumers(ctx)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.NoError(t, b.EndPause(ctx, second, "bob", "it was not removed"))
	all, err = b.PausedConsumers(ctx)
	require.NoError(t, err)
	require.Equal(t, first.ID, all[0].ID)
	require.Len(t, all, 1)
	told := byHand("c")
	told.ID = uuid.NewString()
	ended, err := b.ResumeConsumer(ctx, "c", "bob", "counted", told, first)
	require.NoError(t, err)
	require.Len(t, ended, 2)
	past, err := b.PastPauses(ctx)
	require.NoError(t, err)
	require.Len(t, past, 3)
	for _, p := range past {
		require.True(t, p.Over)
	}
}

// TestPausesThatLastAreNotForgotten: with what is written later, they are written again.
func TestPausesThatLastAreNotForgotten(t *testing.T) {
	b, ctx := consuming(t)
	b.pauses.Aging = 1
	old, err := b.PauseConsumer(ctx, byHand("old"), 0)
	require.NoError(t, err)
	for range 2 {
		_, err = b.PauseConsumer(ctx, byHand("c"), 0)
		require.NoError(t, err)
	}
	n := 0
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Qos(100, 0, false))
		ds, err := ch.Consume(b.PausesExchange(), "", false, false, false, false, amqp.Table{"x-stream-offset": "first"})
		require.NoError(t, err)
		for n < 2 {
			d := next(t, ds)
			var r struct {
				Pause ConsumerPause `json:"pause"`
			}
			require.NoError(t, json.Unmarshal(d.Body, &r))
			if r.Pause.ID == old.ID {
				n++
			}
		}
	})
}

// TestWithoutTheStreamOfPauses a consumer works, and says that it cannot be paused.
func TestWithoutTheStreamOfPauses(t *testing.T) {
	maker, _ := consuming(t)
	b := open(t, stacktest.Shared(t).AMQPURL(), maker.o.Prefix, func(o *Options) { o.NoDeclare = true })
	handled := make(chan string, 10)
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { handled <- d.Message.ID; return nil })
	publishTx(t, maker, "a")
	require.Equal(t, "a", next(t, handled))
	answers(t, maker, func(all []wire.ProcessStatus) bool {
		states := of(all, "c")
		return len(states) == 1 && !states[0].Pausable && states[0].Unpausable != ""
	})
}

// TestPausesAreReadWithoutTheRightToWrite: a process whose user may only read the stream heeds what
// is in it, begins where nothing is in it, and alerts nobody of what it may not write.
func TestPausesAreReadWithoutTheRightToWrite(t *testing.T) {
	t.Parallel()
	maker, ctx := consuming(t)
	reader := func() *Broker {
		return open(t, userWith(t, maker.o.Prefix, `^PREFIX\.status\.`, `^(?!PREFIX\.pauses)`, ".*"), maker.o.Prefix,
			func(o *Options) { o.NoDeclare = true })
	}
	status := topology.ExchangeStep(maker.StatusExchange(), amqp.ExchangeFanout, nil)
	require.NoError(t, maker.topo.Declare(ctx, append(maker.topo.PauseSteps(), status))) // nothing is in the stream
	handled := make(chan string, 10)
	handle := func(_ context.Context, d Delivery) error { handled <- d.Message.ID; return nil }
	reader().testConsumer(t, nil, handle)
	publishTx(t, maker, "a")
	require.Equal(t, "a", next(t, handled))
	untilPaused(t, maker, "c", 1, "")

	p, err := maker.PauseConsumer(ctx, byHand("c"), 0)
	require.NoError(t, err)
	untilPaused(t, maker, "c", 1, p.ID)
	reader().testConsumer(t, nil, handle)
	untilPaused(t, maker, "c", 2, p.ID)
	publishTx(t, maker, "b")
	untilWaiting(t, maker, "c", 1)
	_, err = maker.ResumeConsumer(ctx, "c", "bob", "counted")
	require.NoError(t, err)
	require.Equal(t, "b", next(t, handled))
}
