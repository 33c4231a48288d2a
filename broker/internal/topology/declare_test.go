package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/addresses"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// connectedTopology is a topology with a connection and nothing else.
func connectedTopology(t *testing.T) *Maker {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	names := wire.Names{Prefix: stacktest.Prefix(t), Halves: 1}
	list, err := addresses.Parse(stacktest.Shared(t).AMQPURL())
	require.NoError(t, err)
	o := link.Options{Addresses: addresses.NewRing(list), Name: t.Name(), Names: names,
		Log: slog.New(slog.DiscardHandler)}
	c := &link.Client{Names: names, Log: o.Log, PublishTimeout: 10 * time.Second, Calls: &link.Calls{},
		Consuming: link.NewConnection("consume", o, nil)}
	require.NoError(t, c.Consuming.Start(ctx))
	t.Cleanup(func() {
		defer cancel()
		c.Calls.Close()
		c.Consuming.Stop(ctx)
		c.Calls.Wait()
	})
	return New(c, NewMemory(), Options{})
}

// What was made before a declaration was late is not made again; and one that is never
// answered holds up the others once.
func TestLateDeclaration(t *testing.T) {
	t.Parallel()
	topo := connectedTopology(t)
	topo.late = 100 * time.Millisecond
	var mu sync.Mutex
	done := map[string]int{}
	sum := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, k := range done {
			n += k
		}
		return n
	}
	late := make(chan struct{})
	var slow atomic.Bool
	slow.Store(true)
	var steps []Step
	for i := range 40 {
		name := strconv.Itoa(i)
		steps = append(steps, Step{What: name, Do: func(ch *amqp.Channel, _ bool) error {
			if name == "20" && slow.Load() {
				<-late
				return errors.New("too late")
			}
			mu.Lock()
			defer mu.Unlock()
			done[name]++
			return nil
		}})
	}
	err := topo.Declare(t.Context(), steps)
	require.ErrorIs(t, err, errLate)
	require.ErrorContains(t, err, "declare 20: ")
	require.Len(t, done, 39)
	slow.Store(false)
	at := sum()
	require.NoError(t, topo.Declare(t.Context(), steps))
	require.Equal(t, at+1, sum(), "only what was late")
	close(late)
}

// Declarations go on with the next connection where one is lost, and end where each is
// lost by them.
func TestDeclareOverALostConnection(t *testing.T) {
	t.Parallel()
	topo := connectedTopology(t)
	var losses, taken atomic.Int32
	var steps []Step
	for i := range 10 {
		steps = append(steps, Step{What: strconv.Itoa(i), Do: func(*amqp.Channel, bool) error {
			if i == 5 && losses.Add(-1) >= 0 {
				conn, err := topo.c.Consuming.Get(t.Context())
				require.NoError(t, err)
				return errors.Join(conn.Close(), amqp.ErrClosed)
			}
			taken.Add(1)
			return nil
		}})
	}
	losses.Store(maxConnections)
	require.ErrorIs(t, topo.Declare(t.Context(), steps), amqp.ErrClosed)
	losses.Store(1)
	require.NoError(t, topo.Declare(t.Context(), steps))
	require.Empty(t, topo.Ledger.lacking(steps))
	require.Negative(t, losses.Load())
	topo.c.Consuming.Stop(t.Context())
	taken.Store(0)
	require.NoError(t, topo.Declare(t.Context(), steps), "all of them are known")
	require.ErrorIs(t, topo.Declare(t.Context(), []Step{{What: "one more"}}), link.ErrClosed)
	require.Zero(t, taken.Load())
}

// A step that is refused among many is found, and the others are taken.
func TestRefusedAmongMany(t *testing.T) {
	t.Parallel()
	topo := connectedTopology(t)
	conn, err := topo.c.Consuming.Get(t.Context())
	require.NoError(t, err)
	var steps, conflicts []Step
	var want []string
	for i := range 60 {
		name := fmt.Sprintf("%s.x%d", topo.c.Prefix, i)
		steps = append(steps, Briefly(ExchangeStep(name, amqp.ExchangeDirect, nil))...)
		if i%25 == 20 {
			want = append(want, name)
			conflicts = append(conflicts, Briefly(ExchangeStep(name, amqp.ExchangeFanout, nil))...)
		}
	}
	t.Cleanup(func() {
		ch, err := conn.Channel()
		require.NoError(t, err)
		for _, s := range steps {
			_ = ch.ExchangeDelete(s.Of, false, false)
		}
	})
	require.NoError(t, topo.run(t.Context(), conn, conflicts))
	var failed []string
	require.NoError(t, topo.each(t.Context(), conn, steps, func(s Step, _ error) (bool, error) {
		failed = append(failed, s.Of)
		return false, nil
	}))
	require.Equal(t, want, failed)
	for _, s := range steps {
		there, err := topo.c.Calls.Exists(t.Context(), conn, func(ch *amqp.Channel) error { return s.There(ch, false) })
		require.NoError(t, err)
		require.True(t, there, s.Of)
	}
}
