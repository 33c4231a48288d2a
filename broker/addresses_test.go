package broker

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// closedPort is an address that nobody listens at.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// mutePort is an address that takes connections and says nothing.
func mutePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// inTime calls f with a deadline, and a later one where a slow machine does not come so far.
func inTime(t *testing.T, f func(context.Context) bool) {
	t.Helper()
	for limit := 2 * time.Second; ; limit *= 2 {
		require.Less(t, limit, patience)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		done := f(ctx)
		cancel()
		if done {
			return
		}
	}
}

// An address that is dead, or says nothing, does not keep a process from starting, be it
// the first one or not; and all connections go where one could be made.
func TestFirstAddressIsDead(t *testing.T) {
	good, prefix := stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t)
	for name, dead := range map[string]string{"nobody listens": closedPort(t), "nothing is said": mutePort(t)} {
		seen := map[string]bool{}
		for len(seen) < 2 {
			var b *Broker
			inTime(t, func(ctx context.Context) bool { // half of the time is the dead one's
				var err error
				b, err = Open(ctx, Options{URL: "amqp://u:p@" + dead + "/," + good, Prefix: prefix, Name: t.Name()})
				return err == nil
			})
			seen[b.o.ring.All()[0].Where()] = true
			for _, where := range []string{b.c.Publishing.Where(), b.c.Consuming.Where()} {
				require.Equal(t, stacktest.HostOf(t, good), where, name)
			}
			info, err := b.Inspect(testContext(t))
			require.NoError(t, err)
			require.Equal(t, stacktest.HostOf(t, good), info.Where, name)
			require.NoError(t, b.Close(testContext(t)))
		}
	}
}

// All are dead: an error within the deadline says what each said.
func TestAllAddressesAreDead(t *testing.T) {
	closed, mute := closedPort(t), mutePort(t)
	first := map[string]bool{}
	for len(first) < 2 {
		var log bytes.Buffer
		var err error
		inTime(t, func(ctx context.Context) bool {
			_, err = Open(ctx, Options{URL: "amqp://ann:sesame@" + mute + "/,amqp://bob:sesame@" + closed + "/",
				Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			return strings.Contains(err.Error(), "connection refused")
		})
		require.Contains(t, log.String(), closed)
		require.NotContains(t, log.String(), "sesame")
		var u *holdfast.UnavailableError
		require.ErrorAs(t, err, &u)
		for _, says := range []string{closed + ": dial tcp " + closed, "connection refused (nothing listens there",
			mute + ": context deadline exceeded", "(no answer in time", "one of them is enough"} {
			require.ErrorContains(t, err, says)
		}
		require.NotContains(t, err.Error(), "sesame")
		require.Contains(t, []string{closed + ", " + mute, mute + ", " + closed}, u.Where)
		first[strings.Split(u.Where, ",")[0]] = true
	}
}

// A process that lost its address goes to another one with all its connections, and stays.
func TestAddressIsLost(t *testing.T) {
	url := stacktest.Shared(t).AMQPURL()
	one, two := stacktest.NewRelay(t, stacktest.HostOf(t, url)), stacktest.NewRelay(t, stacktest.HostOf(t, url))
	b := open(t, url, stacktest.Prefix(t), func(o *Options) { o.URL = one.Through(url) + "," + two.Through(url) })
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	used, other := one, two
	if b.c.Publishing.Where() == two.Address() {
		used, other = two, one
	}
	require.Equal(t, used.Address(), b.c.Consuming.Where(), "both go to the same one")
	used.Cut() // it takes connections again at once, but what lost one is not asked first
	eventually(t, "both are at the other one", func() bool {
		return b.c.Publishing.Where() == other.Address() && b.c.Consuming.Where() == other.Address() && b.Reached() == nil
	})
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	conn, raw, err := b.c.Publishing.Dial(ctx)
	require.NoError(t, err)
	require.Equal(t, other.Address(), raw.RemoteAddr().String(), "what is dialled beside goes there, too")
	require.NoError(t, conn.Close())
	require.Equal(t, other.Address(), b.c.Publishing.Where(), "it stays")
	later := b.o.ring.Order(time.Now().Add(time.Hour))
	require.Equal(t, other.Address(), b.o.ring.All()[later[0]].Where(), "also when the first one may be tried again")
	require.Contains(t, b.c.Publishing.State(), "connected to RabbitMQ at "+other.Address())
}

// An address that falls silent, with its connections open, is left once heartbeats are missed.
// Nothing that was sent meanwhile is lost.
func TestAddressFallsSilent(t *testing.T) {
	t.Parallel()
	url := stacktest.Shared(t).AMQPURL()
	one, two := stacktest.NewRelay(t, stacktest.HostOf(t, url)), stacktest.NewRelay(t, stacktest.HostOf(t, url))
	b := open(t, url, stacktest.Prefix(t), func(o *Options) { o.URL = one.Through(url) + "," + two.Through(url) })
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	used, other := one, two
	if b.c.Publishing.Where() == two.Address() {
		used, other = two, one
	}
	used.Silence()
	require.NoError(t, b.PublishHalf(ctx, half("a", "g")))
	require.Equal(t, other.Address(), b.c.Publishing.Where())
	eventually(t, "both are at the other one", func() bool {
		return b.c.Consuming.Where() == other.Address() && b.Reached() == nil
	})
	require.Equal(t, 1, ready(t, b, b.HalfQueue("g")))
}

// A list has to lead to one virtual host, and is refused before anything is tried.
func TestAddressesAreChecked(t *testing.T) {
	_, err := Open(t.Context(), Options{URL: "amqp://u:sesame@a/x,amqp://u:sesame@b/y"})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, `different virtual hosts, "x" at a:5672 and "y" at b:5672`)
	require.NotContains(t, err.Error(), "sesame")
}

// All connections of a process have its name, at whichever address.
func TestConnectionsHaveNames(t *testing.T) {
	s := stacktest.Shared(t)
	relay := stacktest.NewRelay(t, stacktest.HostOf(t, s.AMQPURL()))
	name := stacktest.Prefix(t)
	b := open(t, s.AMQPURL(), stacktest.Prefix(t), func(o *Options) {
		o.URL, o.Name = relay.Through(s.AMQPURL())+",amqp://u:p@"+closedPort(t), name
	})
	conn, _, err := b.c.Publishing.Dial(testContext(t))
	require.NoError(t, err)
	defer func(c *amqp.Connection) { _ = c.Close() }(conn)
	names := func() int {
		out := stacktest.RabbitMQ(t, s, "rabbitmqctl", "--silent", "list_connections", "client_properties")
		return strings.Count(out, `"`+name+` (publish)"`)*10 + strings.Count(out, `"`+name+` (consume)"`)
	}
	eventually(t, "two for publishing, one for consuming", func() bool { return names() == 21 })
}
