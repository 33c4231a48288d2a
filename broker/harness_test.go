package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/addresses"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// patience is how long tests wait for what must happen. It says nothing about
// how fast it is.
const patience = 10 * time.Minute

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// open opens a Broker at url, unless change has another one, that the test's end closes.
func open(t testing.TB, url, prefix string, change func(*Options)) *Broker {
	t.Helper()
	o := Options{URL: url, Prefix: prefix, Name: t.Name(), Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&o)
	}
	b, err := Open(testContext(t), o)
	require.NoError(t, err)
	deleteMade(t, url, prefix)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = b.Close(ctx)
		made.mu.Lock()
		defer made.mu.Unlock()
		made.queues[prefix] = append(made.queues[prefix], b.queues()...)
	})
	return b
}

// made are the queues of the tests that run, by prefix.
var made = struct {
	mu     sync.Mutex
	queues map[string][]string
}{queues: map[string][]string{}}

// deleteMade has a prefix's queues deleted at the test's end, once all its
// Brokers are closed.
func deleteMade(t testing.TB, url, prefix string) {
	made.mu.Lock()
	defer made.mu.Unlock()
	if _, known := made.queues[prefix]; known {
		return
	}
	made.queues[prefix] = nil
	t.Cleanup(func() {
		made.mu.Lock()
		queues := made.queues[prefix]
		delete(made.queues, prefix)
		made.mu.Unlock()
		stacktest.DeleteQueues(t, url, queues...)
	})
}

// queues are the queues that the Broker may have declared.
func (b *Broker) queues() []string {
	out := []string{b.PausesExchange(), b.DeadQueue(), b.ExpiredQueue(), b.OversizedQueue(), b.RetryQueue(topology.Postponed)}
	for _, c := range b.Remembered() {
		out = append(out, b.HeldQueue(c.Name))
	}
	for _, s := range b.topo.All() {
		if s.What != "queue "+s.Of {
			continue
		}
		out = append(out, s.Of)
		if group := wire.GroupOfReplies(b.o.Prefix, s.Of); group != "" {
			out = append(out, b.InstanceReplyQueue(group))
		}
	}
	return out
}

// testWriter shows the log of a failed test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// logWatch keeps a Broker's log.
type logWatch struct {
	mu    sync.Mutex
	lines []string
}

// watchLog is called before what it is to watch.
func watchLog(b *Broker) *logWatch {
	w := &logWatch{}
	b.c.Log = slog.New(watching{b.c.Log.Handler(), w})
	return w
}

func (w *logWatch) contains(text string) bool { return w.count(text) > 0 }

// count returns how many lines have a text.
func (w *logWatch) count(text string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

type watching struct {
	slog.Handler
	w *logWatch
}

func (h watching) WithAttrs(as []slog.Attr) slog.Handler {
	return watching{h.Handler.WithAttrs(as), h.w}
}

func (h watching) Handle(ctx context.Context, r slog.Record) error {
	h.w.mu.Lock()
	h.w.lines = append(h.w.lines, r.Message)
	h.w.mu.Unlock()
	return h.Handler.Handle(ctx, r)
}

// background runs f until the test's end, or until the returned stop, which
// waits for f.
func background(t testing.TB, f func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				require.NoError(t, err)
			case <-time.After(patience):
				t.Error("did not end after its context was cancelled")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 10*time.Millisecond, what)
}

// grows waits until a number is n, for as long as it grows.
func grows(t testing.TB, what string, n int, number func() int) {
	t.Helper()
	for reached := 0; reached < n; {
		before := reached
		eventually(t, fmt.Sprintf("%s: more than %d of %d", what, before, n), func() bool {
			reached = max(reached, number())
			return reached > before
		})
	}
}

// next waits for a value.
func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	v, open := recv(t, c)
	require.True(t, open, "channel closed")
	return v
}

func messages(tx, topic string, n int) []holdfast.Message {
	ms := make([]holdfast.Message, n)
	for i := range ms {
		ms[i] = holdfast.Message{Topic: topic, Body: []byte(tx + "/" + strconv.Itoa(i))}
	}
	holdfast.NumberMessages(tx, ms)
	return ms
}

func half(tx, group string) holdfast.Half {
	return holdfast.Half{TxID: tx, Group: group, At: time.Now(), Messages: messages(tx, "order.placed", 1)}
}

// ready is how many messages wait in a queue, -1 if it does not exist.
func ready(t testing.TB, b *Broker, queue string) int {
	t.Helper()
	info, err := b.Inspect(testContext(t), queue)
	require.NoError(t, err)
	if !info.Queues[0].Exists {
		return -1
	}
	return info.Queues[0].Messages
}

// take gets one message out of a queue.
func take(t testing.TB, b *Broker, queue string) amqp.Delivery {
	t.Helper()
	return takeAll(t, b, queue, 1)[0]
}

// takeAll gets n messages out of a queue. A queue with a single active consumer
// knows no basic.get.
func takeAll(t testing.TB, b *Broker, queue string, n int) []amqp.Delivery {
	t.Helper()
	var out []amqp.Delivery
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.Qos(n, 0, false))
		ds, err := ch.Consume(queue, "", false, false, false, false, nil)
		require.NoError(t, err)
		for range n {
			d := next(t, ds)
			require.NoError(t, d.Ack(false))
			out = append(out, d)
		}
	})
	return out
}

// rawChannel runs f with a channel of its own, past the Broker.
func rawChannel(t testing.TB, b *Broker, f func(ch *amqp.Channel)) {
	t.Helper()
	conn, err := b.c.Consuming.Get(testContext(t))
	require.NoError(t, err)
	ch, err := conn.Channel()
	require.NoError(t, err)
	defer func() { _ = ch.Close() }()
	require.NoError(t, ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1<<17))
	f(ch)
	// What is not confirmed when its channel closes may be lost.
	for range ch.GetNextPublishSeqNo() - 1 {
		if _, open := recv(t, confirms); !open {
			return
		}
	}
}

// recv waits for a value, or for the channel to be closed.
func recv[T any](t testing.TB, c <-chan T) (v T, open bool) {
	t.Helper()
	select {
	case v, open = <-c:
		return v, open
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

// cut cuts a Broker's connections as a network would.
func cutConnections(b *Broker) {
	for _, l := range []*link.Connection{b.c.Publishing, b.c.Consuming} {
		l.Mu.Lock()
		if l.Raw != nil {
			_ = l.Raw.Close()
		}
		l.Mu.Unlock()
	}
}

// tally counts deliveries by message ID.
type tally struct {
	mu  sync.Mutex
	ids map[string]int
}

func (c *tally) add(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ids == nil {
		c.ids = map[string]int{}
	}
	c.ids[id]++
}

func (c *tally) of(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids[id]
}

func (c *tally) sum() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.ids {
		n += k
	}
	return n
}

func (c *tally) distinct() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ids)
}

var txCount atomic.Int64

func newTx() string { return fmt.Sprintf("tx-%d", txCount.Add(1)) }

// quorum are the arguments of a queue of ours that nothing protects.
func quorumArgs() amqp.Table {
	return amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int64(100_000_000)}
}

// detached is a Broker without RabbitMQ.
func detached(o Options) *Broker {
	o.ring = addresses.NewRing(nil)
	return &Broker{names: o.names(), o: o, c: o.client()}
}
