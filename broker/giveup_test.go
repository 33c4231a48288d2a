package broker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// GiveUp stands before the dead letters, whatever a message dies of.
func TestGiveUp(t *testing.T) {
	type asked struct {
		d Delivery
		f holdfast.Failure
	}
	for name, x := range map[string]struct {
		err      error
		change   func(*amqp.Publishing)
		class    holdfast.ErrorClass
		attempts int
		says     string
	}{
		"used up":     {err: errOops, class: holdfast.ClassError, attempts: 3, says: "oops"},
		"permanent":   {err: holdfast.Permanent(errOops), class: holdfast.ClassPermanent, attempts: 1, says: "oops"},
		"large":       {err: errOops, class: holdfast.ClassError, attempts: 2, says: "no room", change: func(p *amqp.Publishing) { p.Headers["big"] = strings.Repeat("x", 121<<10) }},
		"lost":        {class: holdfast.ClassLost, attempts: 5, says: "5 in a row", change: func(p *amqp.Publishing) { p.Headers[wire.HeaderLost] = "4" }},
		"new version": {class: holdfast.ClassMalformed, attempts: 1, says: "upgrade", change: func(p *amqp.Publishing) { p.Headers[wire.HeaderVersion] = "2" }},
		"no ID":       {class: holdfast.ClassMalformed, attempts: 1, says: "message-id", change: func(p *amqp.Publishing) { p.MessageId = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := consuming(t)
			call := aCall(b)
			m := aBody("o-1")
			m.ID = "m"
			msg := wire.EncodeCall(&call, m)
			if x.change != nil {
				x.change(&msg)
			}
			msg.Headers[wire.HeaderRoutingKey] = "order.stock"
			publishRaw(t, b, b.QueuesExchange(), b.ConsumerQueue("c"), msg)
			if name == "lost" {
				rawChannel(t, b, func(ch *amqp.Channel) {
					ds, err := ch.Consume(b.ConsumerQueue("c"), "", false, false, false, false, nil)
					require.NoError(t, err)
					next(t, ds)
				})
			}
			var events watched
			gone := make(chan asked, 10)
			b.testConsumer(t, func(o *Subscription) {
				o.Tries, o.Ladder, o.Observe, o.NeedsID = 2, rungs(1), events.add, true
				o.GiveUp = func(ctx context.Context, d Delivery, f holdfast.Failure) (bool, error) {
					if _, limited := ctx.Deadline(); !limited {
						t.Error("no time limit")
					}
					gone <- asked{d, f}
					return true, nil
				}
			}, func(context.Context, Delivery) error { return x.err })
			got := next(t, gone)
			call.Topic = "order.stock"
			require.Equal(t, &call, got.d.Saga)
			require.Equal(t, `{"sku":1}`, string(got.d.Message.Body))
			require.Equal(t, x.attempts, got.d.Attempt)
			require.Equal(t, "c", got.f.Consumer)
			require.Equal(t, x.class, got.f.Class)
			require.Equal(t, x.attempts, got.f.Attempts)
			require.Contains(t, got.f.Reason, x.says)
			require.NotEmpty(t, got.f.Log)
			require.WithinDuration(t, time.Now(), got.f.At, patience)
			eventually(t, "acknowledged", func() bool { return ready(t, b, b.ConsumerQueue("c"))+ready(t, b, b.AloneQueue("c")) == 0 })
			require.Zero(t, ready(t, b, b.DeadQueue()))
			require.Empty(t, events.of(EventDead))
		})
	}
}

// What nobody takes care of is a dead letter, and whoever fails at it is asked
// again.
func TestGiveUpRefuses(t *testing.T) {
	b, ctx := consuming(t)
	var mu sync.Mutex
	asked := 0
	b.testConsumer(t, func(o *Subscription) {
		o.GiveUp = func(_ context.Context, d Delivery, _ holdfast.Failure) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if d.Saga == nil {
				return false, nil
			}
			switch asked++; asked {
			case 1:
				return true, errors.New("the reply could not be stored")
			case 2:
				panic("oh no")
			}
			return true, nil
		}
	}, func(context.Context, Delivery) error { return holdfast.Permanent(errOops) })
	publishTx(t, b, "a")
	d := take(t, b, b.DeadQueue())
	require.Equal(t, "a", d.MessageId)
	require.EqualValues(t, holdfast.ClassPermanent, d.Headers[wire.HeaderErrorClass])

	require.NoError(t, b.PublishSagaCall(ctx, aCall(b), aBody("")))
	eventually(t, "asked until it works", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return asked == 3
	})
	eventually(t, "acknowledged", func() bool { return ready(t, b, b.ConsumerQueue("c")) == 0 })
	require.Zero(t, ready(t, b, b.DeadQueue()))
}

// An operator who redelivered a call is told that it was taken care of.
func TestGiveUpOfRedelivery(t *testing.T) {
	b, _ := consuming(t)
	b.testConsumer(t, func(o *Subscription) {
		o.GiveUp = func(context.Context, Delivery, holdfast.Failure) (bool, error) { return true, nil }
	}, func(context.Context, Delivery) error { return errOops })
	publishRaw(t, b, b.QueuesExchange(), b.ConsumerQueue("c"), amqp.Publishing{MessageId: "a", Headers: amqp.Table{wire.HeaderRedelivery: "4"}})
	d := take(t, b, b.DeadQueue())
	require.Equal(t, wire.KindHandled, d.Headers[wire.HeaderKind])
	require.Equal(t, "4", d.Headers[wire.HeaderRedelivery])
}

// A call that kills every process that tries it is answered by the next one.
func TestCallThatKills(t *testing.T) {
	b, ctx := consuming(t)
	replies := make(chan wire.SagaReply, 10)
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { replies <- r; return nil })
	call := aCall(b)
	require.NoError(t, b.PublishSagaCall(ctx, call, aBody("killer")))
	config := childConfig{URL: stacktest.Shared(t).AMQPURL(), Prefix: b.o.Prefix, Replies: true}
	for deaths := 0; ; deaths++ {
		require.Less(t, deaths, 20, "far more deaths than a call is allowed attempts")
		child, exited := startChild(t, config)
		select {
		case <-exited:
			continue
		case r := <-replies:
			require.NoError(t, child.Process.Kill())
			<-exited
			require.Equal(t, stepend.Failed, r.Outcome)
			require.Equal(t, holdfast.ClassLost, r.Class)
			require.Equal(t, call.Step, r.Step)
			require.Contains(t, r.Reason, "killed")
			require.GreaterOrEqual(t, deaths, 4, "as many deaths as attempts")
		case <-time.After(patience):
			_ = child.Process.Kill()
			require.FailNow(t, "nothing happens")
		}
		break
	}
	require.Zero(t, ready(t, b, b.DeadQueue()))
}
