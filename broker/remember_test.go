package broker

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestBoundMatches(t *testing.T) {
	for _, tc := range []struct {
		pattern, topic string
		want           bool
	}{
		{"order.placed", "order.placed", true},
		{"order.placed", "order", false},
		{"order.*", "order.placed", true},
		{"order.*", "order.placed.eu", false},
		{"order.#", "order", true},
		{"order.#", "order.placed.eu", true},
		{"#", "a.b", true},
		{"#.eu", "order.placed.eu", true},
		{"#.eu", "order.eu.placed", false},
		{"*.#.eu", "eu", false},
		{"a.#.b.#.c", "a.x.b.c.b.y.c", true},
		{"a.#.b.#.c", "a.x.c", false},
		{strings.Repeat("#.", 100) + "x", strings.Repeat("a.", 120) + "b", false}, // at once
	} {
		require.Equal(t, tc.want, wire.Bound{Topics: []string{"none", tc.pattern}}.Matches(tc.topic), "%s %s", tc.pattern, tc.topic)
	}
}

// emptied is a virtual host that a test can empty, as a RabbitMQ that lost its disk
// comes back.
type emptied struct {
	t     *testing.T
	stack *stack.Stack
	name  string
}

func newEmptied(t *testing.T) (v *emptied, amqpURL string) {
	s := stacktest.Shared(t)
	v = &emptied{t: t, stack: s, name: stacktest.Prefix(t)}
	v.eval("")
	t.Cleanup(func() { stacktest.RabbitMQ(t, s, "rabbitmqctl", "delete_vhost", v.name) })
	u, err := url.Parse(s.AMQPURL())
	require.NoError(t, err)
	u.Path = "/" + v.name
	return v, u.String()
}

// eval makes the virtual host anew, after having done something else.
func (v *emptied) eval(before string) {
	stacktest.RabbitMQ(v.t, v.stack, "rabbitmqctl", "eval", before+` rabbit_vhost:add(<<"`+v.name+`">>, <<"test">>),
rabbit_auth_backend_internal:set_permissions(<<"holdfast">>, <<"`+v.name+`">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>).`)
}

func (v *emptied) empty() { v.eval(`rabbit_vhost:delete(<<"` + v.name + `">>, <<"test">>),`) }

// keptConsumers keeps consumers as a database does.
type keptConsumers struct {
	mu   sync.Mutex
	all  []wire.Bound
	told []Remade
	news tally // of consumers, by name
}

func (k *keptConsumers) learning() Learning {
	return Learning{News: func(cs []wire.Bound) {
		for _, c := range cs {
			k.news.add(c.Name)
		}
	},
		Save: func(_ context.Context, cs []wire.Bound) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.all = cs
			return nil
		},
		Load: func(context.Context) ([]wire.Bound, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.all, nil
		}}
}

func (k *keptConsumers) remade(r Remade) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = append(k.told, r)
}

func (k *keptConsumers) tellings() []Remade {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.told
}

// RabbitMQ comes back empty while a consumer's process is away: it gets what is
// published before it comes back. The half messages that the Keeper held are stored
// again. All is told.
func TestEmptyBroker(t *testing.T) {
	t.Parallel()
	v, at := newEmptied(t)
	prefix := stacktest.Prefix(t)
	var k keptConsumers
	producer := open(t, at, prefix, func(o *Options) { o.OnRemade = k.remade })
	background(t, func(ctx context.Context) error {
		return producer.KeepGroup(ctx, KeeperOptions{Group: "g", CheckAfter: time.Hour, HandOver: func(_ context.Context, hs []holdfast.Half) []error {
			return make([]error, len(hs))
		}})
	})
	producer.board.LearnEvery, producer.board.LearnPause = time.Hour, time.Millisecond
	background(t, func(ctx context.Context) error { return producer.Learn(ctx, k.learning()) })
	var here, late tally
	consume := func(name string, got *tally) (stop func()) {
		b := open(t, at, prefix, func(o *Options) { o.OnRemade = k.remade })
		return background(t, func(ctx context.Context) error {
			return b.Consume(ctx, Subscription{Name: name, Topics: []string{"order.*"}, Handle: func(_ context.Context, d Delivery) error {
				got.add(d.TxID)
				return nil
			}})
		})
	}
	consume("here", &here)
	away := consume("late", &late)
	eventually(t, "the consumers are known", func() bool { return len(producer.BoundTo("order.placed")) == 2 })
	eventually(t, "and told of", func() bool { return k.news.distinct() == 2 })
	away()
	require.NoError(t, producer.PublishHalf(testContext(t), half("undecided", "g")))
	eventually(t, "the Keeper holds it", func() bool {
		p := producer.board.Status(wire.StatusRequest{})
		return len(p.Keepers) == 1 && p.Keepers[0].Undecided == 1
	})

	v.empty()
	emptied := time.Now()
	require.NoError(t, producer.PublishMessages(testContext(t), "g", "t1", messages("t1", "order.placed", 1)))
	eventually(t, "who is here gets it", func() bool { return here.of("t1") > 0 })
	require.Equal(t, 1, ready(t, producer, producer.ConsumerQueue("late")))
	eventually(t, "it is told, by whichever process is there first", func() bool {
		return slices.ContainsFunc(k.tellings(), func(r Remade) bool {
			return r.Empty && strings.Contains(r.String(), "came back empty")
		})
	})
	eventually(t, "and that the half queue was lost, by whichever makes it", func() bool {
		return slices.ContainsFunc(k.tellings(), func(r Remade) bool { return slices.Contains(r.Queues, producer.HalfQueue("g")) })
	})
	consume("late", &late)
	eventually(t, "who was away gets it", func() bool { return late.of("t1") > 0 })
	eventually(t, "the half is held again", func() bool {
		p := producer.board.Status(wire.StatusRequest{})
		return len(p.Keepers) == 1 && p.Keepers[0].Undecided == 1 && p.Keepers[0].OldestAge < time.Since(emptied)
	})

	// A process that begins while the consumer is away, and has only what was kept.
	v.empty()
	fresh := open(t, at, prefix, nil)
	require.NoError(t, fresh.DeclareGroup(testContext(t), "g"))
	require.NoError(t, fresh.Recall(testContext(t), k.all))
	require.NotEqual(t, -1, ready(t, fresh, fresh.ConsumerQueue("late")))
	require.Equal(t, 2, k.news.sum(), "who comes back is no news")
}

// TestMarkThatHasExpired: a process that could not renew its mark for long, since PostgreSQL was away
// or its machine was suspended, finds it gone, and does not say that RabbitMQ lost everything.
func TestMarkThatHasExpired(t *testing.T) {
	t.Parallel()
	_, at := newEmptied(t)
	var k keptConsumers
	b := open(t, at, stacktest.Prefix(t), func(o *Options) { o.OnRemade = k.remade })
	require.NoError(t, b.DeclareGroup(testContext(t), "g"))
	require.NoError(t, b.Recall(testContext(t), nil))
	mark := b.topo.MarkName()
	require.NotEmpty(t, mark)
	expire := func() {
		conn, err := b.c.Consuming.Get(testContext(t))
		require.NoError(t, err)
		ch, err := conn.Channel()
		require.NoError(t, err)
		_, err = ch.QueueDelete(mark, false, false, false)
		require.NoError(t, err)
		require.NoError(t, ch.Close())
		require.NoError(t, b.Recall(testContext(t), nil))
		require.NotEqual(t, -1, ready(t, b, mark), "it is made again")
	}
	b.topo.MarkHolds = 0
	expire()
	require.Empty(t, k.tellings())
	b.topo.MarkHolds = time.Hour
	expire()
	require.Len(t, k.tellings(), 1)
	require.True(t, k.tellings()[0].Empty, "one that cannot have expired proves the loss")
}

// TestMarkIsRenewedWithoutADatabase: who cannot read which consumers there are makes what is missing of
// those that it remembers, and renews its mark.
func TestMarkIsRenewedWithoutADatabase(t *testing.T) {
	t.Parallel()
	_, at := newEmptied(t)
	b := open(t, at, stacktest.Prefix(t), nil)
	require.NoError(t, b.DeclareGroup(testContext(t), "g"))
	require.NoError(t, b.Recall(testContext(t), []wire.Bound{{Name: "late", Topics: []string{"a"}}}))
	b.board.LearnEvery, b.board.LearnPause = 10*time.Millisecond, time.Millisecond
	conn, err := b.c.Consuming.Get(testContext(t))
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	for _, q := range []string{b.topo.MarkName(), b.ConsumerQueue("late")} {
		_, err = ch.QueueDelete(q, false, false, false)
		require.NoError(t, err)
	}
	background(t, func(ctx context.Context) error {
		return b.Learn(ctx, Learning{Load: func(context.Context) ([]wire.Bound, error) { return nil, errors.New("no database") }})
	})
	eventually(t, "both are there again", func() bool {
		return ready(t, b, b.topo.MarkName()) != -1 && ready(t, b, b.ConsumerQueue("late")) != -1
	})
}
