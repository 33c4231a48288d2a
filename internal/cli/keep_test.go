package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestKeepUsage(t *testing.T) {
	rabbit := []string{"AMQP_URL=amqp://nobody.invalid"}
	for name, c := range map[string]struct {
		env    []string
		args   []string
		status int
		err    string
	}{
		"no group":         {rabbit, []string{"keep"}, frame.ExitUsage, "at least 1 arg"},
		"a bad name":       {rabbit, []string{"keep", "a b"}, frame.ExitUsage, `contains ' '`},
		"a group twice":    {rabbit, []string{"keep", "orders", "orders"}, frame.ExitUsage, "group orders is named twice"},
		"too many queues":  {rabbit, []string{"keep", "orders", "--half-queues", "17"}, frame.ExitUsage, "HalfQueues 17"},
		"no RabbitMQ":      {nil, []string{"keep", "orders"}, frame.ExitError, "set AMQP_URL"},
		"no port":          {rabbit, []string{"keep", "orders", "--metrics", "9464"}, frame.ExitUsage, "--metrics 9464: want HOST:PORT"},
		"a negative delay": {rabbit, []string{"keep", "orders", "--check-after", "-1s"}, frame.ExitUsage, "CheckAfter"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runProgram(t, c.env, c.args...)
			require.Equal(t, c.status, r.status, r.err)
			require.Contains(t, r.err, c.err)
		})
	}
}

// TestKeep runs two groups of programs in another language; one has left a half
// message.
func TestKeep(t *testing.T) {
	s := stacktest.Shared(t)
	prefix := stacktest.Prefix(t)
	names := []string{"half.orders", "half.invoices", "dead", "dead.oversized", "retry.10s", "check.orders", "q.books"}
	for i := range names {
		names[i] = prefix + "." + names[i]
	}
	t.Cleanup(func() { stacktest.DeleteQueues(t, s.AMQPURL(), names...) })
	conn, err := amqp.Dial(s.AMQPURL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	b, err := broker.Open(t.Context(), broker.Options{URL: s.AMQPURL(), Prefix: prefix})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	require.NoError(t, b.DeclareGroup(t.Context(), "orders"))
	_, err = ch.QueueDeclare(prefix+".q.books", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind(prefix+".q.books", "order.#", b.TopicsExchange(), false, nil))
	delivered, err := ch.Consume(prefix+".q.books", "", true, false, false, false, nil)
	require.NoError(t, err)
	_, err = ch.QueueDeclare(prefix+".check.orders", true, false, false, false, amqp.Table{"x-queue-type": "quorum", "x-message-ttl": 10_000})
	require.NoError(t, err)
	requests, err := ch.Consume(prefix+".check.orders", "", true, false, false, false, nil)
	require.NoError(t, err)
	go func() {
		for d := range requests {
			_ = ch.Publish("", d.ReplyTo, false, false, amqp.Publishing{CorrelationId: d.CorrelationId,
				Body: []byte(`{"v":1,"answers":[{"tx":"o-1","resolution":"commit"}]}`)})
		}
	}()

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var errs lockedBuffer
	ended := make(chan int, 1)
	go func() {
		env := []string{"HOLDFAST_PREFIX=" + prefix, "AMQP_URL=" + s.AMQPURL(), "TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}
		ended <- Main(ctx, []string{"keep", "orders", "invoices", "--check-after", "200ms", "--json", "--metrics", "127.0.0.1:0"},
			frame.Surroundings{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &errs, Environ: env, Now: time.Now})
	}()
	require.NoError(t, b.PublishHalf(t.Context(), holdfast.Half{TxID: "o-1", Group: "orders", Lane: holdfast.Express,
		Messages: []holdfast.Message{{ID: "o-1", Topic: "order.placed", Body: []byte("anchor")}}}))
	select {
	case d := <-delivered:
		require.Equal(t, "anchor", string(d.Body))
	case status := <-ended:
		require.FailNow(t, "keep ended", "%d: %s", status, errs.String())
	case <-time.After(patience):
		require.FailNow(t, "nothing was delivered")
	}
	for _, group := range []string{"orders", "invoices"} {
		require.Eventually(t, func() bool { return strings.Contains(errs.String(), `"msg":"holdfast runs","group":"`+group+`"`) }, patience, 10*time.Millisecond)
	}
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/metrics`).FindString(errs.String())
	require.Eventually(t, func() bool {
		text := scraped(t, url)
		for _, want := range []string{`holdfast_halves_undecided{group="orders",queue="1"} 0`, `holdfast_halves_undecided{group="invoices",queue="1"} 0`,
			`holdfast_halves_handed_over_total{group="orders",lane="express"} 1`, "go_goroutines "} {
			if !strings.Contains(text, want) {
				return false
			}
		}
		return true
	}, patience, 50*time.Millisecond, "both groups' Keepers, apart")
	interrupt()
	require.Equal(t, frame.ExitOK, <-ended)
	for line := range strings.Lines(errs.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

// lockedBuffer is written by many and read meanwhile.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
