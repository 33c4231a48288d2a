package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// refused collects what a Broker tells of refusals.
type refused struct {
	mu  sync.Mutex
	all []link.Refusal
}

func (r *refused) tell(x link.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, x)
}

func (r *refused) count(why string) (n, first int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.all {
		if x.Why == why {
			n++
			if x.First {
				first++
			}
		}
	}
	return n, first
}

// A record over which RabbitMQ closes the channel is refused with the reason after two
// such closings, and from then on closes nobody else's.
func TestRecordThatClosesChannels(t *testing.T) {
	t.Parallel()
	var told refused
	var logged logWatch
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) {
		o.PublishChannels, o.OnRefused, o.Logger = 1, told.tell, slog.New(watching{o.Logger.Handler(), &logged})
	})
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"x"}))
	stop, published := publishOn(t, b, "x")
	grows(t, "publishes", 1, published)
	for range 3 {
		bad := link.Publication{Exchange: b.QueuesExchange(), Key: b.ConsumerQueue("c"), Mandatory: true, Msg: amqp.Publishing{MessageId: "bad", UserId: "somebody"}}
		err := b.c.Pub.One(ctx, &bad, "")
		require.ErrorIs(t, err, holdfast.ErrInvalid)
		require.ErrorContains(t, err, "RabbitMQ closes the connection over it")
		require.ErrorContains(t, err, "user_id")
	}
	require.LessOrEqual(t, logged.count("publish channel lost"), link.MaxDowns, "of those that others use")
	// As if RabbitMQ had another limit since the last connection.
	b.c.Publishing.FrameMax.Store(1 << 20)
	long := link.Publication{Exchange: b.QueuesExchange(), Key: b.ConsumerQueue("c"), Mandatory: true,
		Msg: amqp.Publishing{MessageId: "long", Headers: amqp.Table{"h": strings.Repeat("x", 200<<10)}}}
	require.ErrorIs(t, b.c.Pub.One(ctx, &long, ""), holdfast.ErrTooLarge)
	grows(t, "publishes", 20, published)
	stop()
	s := b.board.Status(wire.StatusRequest{})
	require.Equal(t, PublishStats{Refused: 4}, b.PublishStats())
	require.Len(t, s.Refused, 2)
	require.Equal(t, []any{"bad", link.RefusedClosing, 3}, []any{s.Refused[0].Message, s.Refused[0].Why, s.Refused[0].Count})
	n, first := told.count(link.RefusedClosing)
	require.Equal(t, []int{3, 1}, []int{n, first})
	require.GreaterOrEqual(t, ready(t, b, b.ConsumerQueue("c")), published(), "each of the others is stored once or more")
}

// What goes apart goes there also where its exchange is missing, which is made again, and is
// no reason to refuse it.
func TestApartWithoutItsExchange(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"x"}))
	b.c.Pub.Apart.Remember(link.RouteOf(&link.Publication{Exchange: b.TopicsExchange(), Key: "x"}))
	rawChannel(t, b, func(ch *amqp.Channel) { require.NoError(t, ch.ExchangeDelete(b.TopicsExchange(), false, false)) })
	require.NoError(t, b.PublishMessages(ctx, "g", "t", messages("t", "x", 1)))
	require.Equal(t, 1, ready(t, b, b.ConsumerQueue("c")))
	require.Zero(t, b.PublishStats().Refused)
}

// publishOn publishes messages one after the other, each of which must succeed, until
// it is stopped.
func publishOn(t *testing.T, b *Broker, topic string) (stop func(), published func() int) {
	var n atomic.Int64
	stop = background(t, func(ctx context.Context) error {
		for ctx.Err() == nil {
			tx := newTx()
			if err := b.PublishMessages(testContext(t), "g", tx, messages(tx, topic, 1)); err != nil {
				return err
			}
			n.Add(1)
		}
		return nil
	})
	return stop, func() int { return int(n.Load()) }
}

// Where the user may not publish, that is said at once, and costs the others nothing
// from the second time on.
func TestForbiddenTopic(t *testing.T) {
	t.Parallel()
	s, prefix := stacktest.Shared(t), stacktest.Prefix(t)
	admin := open(t, s.AMQPURL(), prefix, nil)
	ctx := testContext(t)
	require.NoError(t, admin.DeclareConsumer(ctx, "c", []string{"#"}))
	user := "u-" + prefix
	ctl := func(args ...string) { stacktest.RabbitMQ(t, s, "rabbitmqctl", append([]string{"-q"}, args...)...) }
	ctl("add_user", user, "pw")
	t.Cleanup(func() { ctl("delete_user", user) })
	ctl("set_permissions", user, "^"+prefix, "^"+prefix, "^"+prefix)
	ctl("set_topic_permissions", user, prefix+".topics", "^order", ".*")
	uri, err := amqp.ParseURI(s.AMQPURL())
	require.NoError(t, err)
	uri.Username, uri.Password = user, "pw"
	b := open(t, uri.String(), prefix, func(o *Options) { o.PublishChannels = 1 })
	for i := range 3 {
		err := b.PublishMessages(ctx, "g", fmt.Sprint("t", i), messages(fmt.Sprint("t", i), "secret.x", 1))
		require.ErrorIs(t, err, link.ErrNotSent)
		var away *holdfast.UnavailableError
		require.ErrorAs(t, err, &away)
		require.Contains(t, away.Remedy, "set_topic_permissions")
		require.NoError(t, b.PublishMessages(ctx, "g", "ok", messages("ok", "order.x", 1)))
	}
	require.Equal(t, link.RefusedForbidden, b.board.Status(wire.StatusRequest{}).Refused[0].Why)
	ctl("set_topic_permissions", user, prefix+".topics", ".*", ".*")
	require.NoError(t, b.PublishMessages(ctx, "g", "t", messages("t", "secret.x", 1)), "it is tried again each time")
}

// With a small frame_max a message with long headers is tried again, and dies with
// its reason, over the connections that are there.
func TestSmallFrames(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.frameMax = 8192 })
	ctx := testContext(t)
	stop := background(t, func(ctx context.Context) error {
		return b.Consume(ctx, Subscription{Name: "c", Topics: []string{"x"}, Tries: 1, Ladder: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond},
			Handle: func(context.Context, Delivery) error { return fmt.Errorf("%s", strings.Repeat("long ", 1000)) }})
	})
	eventually(t, "the queue", func() bool { return b.topo.HasConsumer("c") })
	ms := messages("t", "x", 1)
	ms[0].Headers = map[string]string{"large": strings.Repeat("x", 5<<10), "small": "1"}
	require.NoError(t, b.PublishMessages(ctx, "g", "t", ms))
	eventually(t, "the dead letter", func() bool { return ready(t, b, b.DeadQueue()) == 1 })
	stop()
	d := take(t, b, b.DeadQueue())
	l := wire.Trust{Prefix: b.o.Prefix}.DecodeDead(&d, time.Now())
	require.Equal(t, []any{"t", 4, holdfast.ClassError}, []any{l.ID, l.Failure.Attempts, l.Failure.Class})
	require.Contains(t, l.Failure.Reason, "long long")
	require.Equal(t, ms[0].Headers, l.Message.Headers)
	require.Equal(t, PublishStats{}, b.PublishStats())
	require.Zero(t, b.c.Consuming.Lost.Count())
}
