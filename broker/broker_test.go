package broker

import (
	"context"
	"net"
	"net/url"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestOptionsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		says string
	}{
		"no URL":         {Options{}, "set AMQP_URL"},
		"no URL at all":  {Options{URL: "http://x:secret@y"}, "amqp://"},
		"bad escape":     {Options{URL: "amqp://u:secret%zz@host/"}, "percent-encoded"},
		"prefix":         {Options{URL: "amqp://h", Prefix: "a b"}, "prefix"},
		"long prefix":    {Options{URL: "amqp://h", Prefix: string(make([]byte, 0, 1)) + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, "limit is 40"},
		"channels":       {Options{URL: "amqp://h", PublishChannels: -1}, "PublishChannels"},
		"op batch":       {Options{URL: "amqp://h", OpBatch: 1 << 20}, "OpBatch"},
		"negative times": {Options{URL: "amqp://h", OpInterval: -1}, "negative"},
	} {
		_, err := Open(t.Context(), c.o)
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.ErrorContains(t, err, c.says, name)
		require.NotContains(t, err.Error(), "secret", name)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	good, err := url.Parse(stacktest.Shared(t).AMQPURL())
	require.NoError(t, err)
	with := func(change func(u *url.URL)) string {
		u := *good
		change(&u)
		return u.String()
	}
	// A port that takes connections and says nothing.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = mute.Close() }()
	// A port that nobody listens on.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())
	for name, c := range map[string]struct {
		url, remedy string
	}{
		"password":  {with(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "sesame") }), "check user and password"},
		"vhost":     {with(func(u *url.URL) { u.Path = "/nowhere" }), "add_vhost"},
		"refused":   {with(func(u *url.URL) { u.Host = free.Addr().String() }), "nothing listens there"},
		"no answer": {with(func(u *url.URL) { u.Host = mute.Addr().String() }), "no answer in time"},
		"host name": {with(func(u *url.URL) { u.Host = "no-such-host.invalid:5672" }), "check the host name"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			if name == "no answer" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
			}
			_, err := Open(ctx, Options{URL: c.url})
			var u *holdfast.UnavailableError
			require.ErrorAs(t, err, &u)
			require.Equal(t, "RabbitMQ", u.Part)
			require.NotEmpty(t, u.Where)
			require.Contains(t, u.Remedy, c.remedy, err)
			require.NotContains(t, err.Error(), "sesame")
			if pass, _ := good.User.Password(); len(pass) > 4 && pass != "guest" { // a remedy names the user guest
				require.NotContains(t, err.Error(), pass)
			}
			if name == "no answer" {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Open(ctx, Options{URL: good.String()})
	require.ErrorIs(t, err, context.Canceled)
}

func TestInspect(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	info, err := b.Inspect(ctx, b.HalfQueue("g"))
	require.NoError(t, err)
	require.Equal(t, "RabbitMQ", info.Product)
	require.Regexp(t, `^\d+\.\d+`, info.Version)
	require.False(t, info.Topics)
	require.Equal(t, []QueueInfo{{Name: b.HalfQueue("g")}}, info.Queues)

	require.NoError(t, b.DeclareGroup(ctx, "g"))
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	info, err = b.Inspect(ctx, b.HalfQueue("g"), b.DeadQueue(), "nothing")
	require.NoError(t, err)
	require.True(t, info.Topics)
	require.Empty(t, info.Blocked)
	require.Equal(t, []QueueInfo{{Name: b.HalfQueue("g"), Exists: true, Messages: 1}, {Name: b.DeadQueue(), Exists: true}, {Name: "nothing"}}, info.Queues)
}

// A queue with other arguments: the error names it, says what differs, and what
// to do.
func TestDeclareConflict(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	rawChannel(t, b, func(ch *amqp.Channel) {
		_, err := ch.QueueDeclare(b.HalfQueue("g"), true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		require.NoError(t, err)
	})
	err := b.DeclareGroup(ctx, "g")
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "queue "+b.HalfQueue("g"))
	require.ErrorContains(t, err, "inequivalent arg 'x-")
	require.ErrorContains(t, err, "delete it and start again")
	require.Empty(t, b.topo.All(), "not remembered")
	require.NoError(t, b.DeclareGroup(ctx, "h"), "the connection still works")
}

// RabbitMQ comes back without its data: everything is declared again.
func TestTopologyIsRestored(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	other := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.*", "#.bill"}))
	queues := []string{b.HalfQueue("g"), b.ConsumerQueue("c"), b.DeadQueue()}
	rawChannel(t, other, func(ch *amqp.Channel) {
		for _, q := range queues {
			_, err := ch.QueueDelete(q, false, false, false)
			require.NoError(t, err)
		}
		require.NoError(t, ch.ExchangeDelete(b.TopicsExchange(), false, false))
	})
	cutConnections(b)
	eventually(t, "declared", func() bool {
		info, err := other.Inspect(ctx, queues...)
		require.NoError(t, err)
		return info.Queues[0].Exists && info.Queues[1].Exists && info.Queues[2].Exists
	})
	eventually(t, "bound", func() bool {
		return b.PublishMessages(ctx, "g", "a", messages("a", "order.placed", 1)) == nil
	})
	require.NoError(t, b.PublishMessages(ctx, "g", "b", messages("b", "x.bill", 1)))
	require.Equal(t, 2, ready(t, b, b.ConsumerQueue("c")))
}

// What RabbitMQ drops itself lands with the dead letters.
func TestBrokerSideDropsAreKept(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"x"}))
	require.NoError(t, b.PublishMessages(ctx, "g", "a", messages("a", "x", 1)))
	rawChannel(t, b, func(ch *amqp.Channel) {
		d, ok, err := ch.Get(b.ConsumerQueue("c"), false)
		require.NoError(t, err)
		require.True(t, ok)
		require.NoError(t, d.Nack(false, false))
	})
	d := take(t, b, b.DeadQueue())
	require.Equal(t, "a", d.MessageId)
	require.NotNil(t, d.Headers["x-death"])
}

// A delivery survives many requeues: RabbitMQ's own limits differ by version.
func TestManyRequeues(t *testing.T) {
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), nil)
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"x"}))
	require.NoError(t, b.PublishMessages(ctx, "g", "a", messages("a", "x", 1)))
	rawChannel(t, b, func(ch *amqp.Channel) {
		ds, err := ch.Consume(b.ConsumerQueue("c"), "", false, false, false, false, nil)
		require.NoError(t, err)
		for range 50 {
			d := next(t, ds)
			require.NoError(t, d.Reject(true))
		}
		d := next(t, ds)
		require.NoError(t, d.Ack(false))
	})
}

func TestBatchConn(t *testing.T) {
	near, far := net.Pipe()
	c := link.NewBatchConn(near)
	go func() {
		for i := range 100 {
			_, _ = c.Write([]byte{byte(i)})
		}
	}()
	got := make([]byte, 0, 100)
	buf := make([]byte, 16)
	for len(got) < 100 {
		n, err := far.Read(buf)
		require.NoError(t, err)
		got = append(got, buf[:n]...)
	}
	for i := range got {
		require.EqualValues(t, i, got[i])
	}
	// Nobody reads: Write waits only once there is too much, and Close ends that.
	done := make(chan error)
	go func() {
		for {
			if _, err := c.Write(make([]byte, link.MaxUnwritten/2)); err != nil {
				done <- err
				return
			}
		}
	}()
	require.NoError(t, c.Close())
	require.ErrorIs(t, next(t, done), net.ErrClosed)
	_ = far.Close()
}
