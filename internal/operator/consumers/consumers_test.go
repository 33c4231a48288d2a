package consumers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// TestAStoppedConsumer still wants what it is bound to.
func TestAStoppedConsumer(t *testing.T) {
	t.Parallel()
	c := Consumer{Exists: true, Topics: []string{"a"}, Bound: []string{"a", "b"}}
	require.Empty(t, c.Unwanted())
	c.Processes = []Process{{"x", broker.ConsumerStatus{Topics: []string{"a"}}}}
	require.Equal(t, []string{"b"}, c.Unwanted())
}

func TestHowBadAConsumerIs(t *testing.T) {
	t.Parallel()
	in := func(breaker string) []Process {
		return []Process{{"a", broker.ConsumerStatus{Breaker: broker.BreakerClosed}}, {"b", broker.ConsumerStatus{Breaker: breaker}}}
	}
	waits := in(broker.BreakerClosed)
	waits[0].WaitsSince = time.Unix(1, 0)
	for name, c := range map[string]struct {
		Consumer
		level  text.Level
		note   string
		orphan bool
	}{
		"well":                 {Consumer{Exists: true, Readers: 2, Processes: in(broker.BreakerClosed)}, text.LevelOK, "", false},
		"no queue":             {Consumer{Processes: in(broker.BreakerClosed)}, text.LevelProblem, "missing", false},
		"orphaned":             {Consumer{Exists: true}, text.LevelWarning, "orphaned", true},
		"orphaned, with some":  {Consumer{Exists: true, Alone: 1}, text.LevelProblem, "messages wait", true},
		"orphaned, and full":   {Consumer{Exists: true, NoRoom: 1}, text.LevelProblem, "messages wait", true},
		"open":                 {Consumer{Exists: true, Readers: 1, Processes: in(broker.BreakerOpen)}, text.LevelWarning, "is open", false},
		"open, and reads none": {Consumer{Exists: true, Processes: in(broker.BreakerOpen)}, text.LevelWarning, "is open", false},
		"probing":              {Consumer{Exists: true, Readers: 1, Processes: in(broker.BreakerProbing)}, text.LevelWarning, "one message", false},
		"waits":                {Consumer{Exists: true, Readers: 1, Processes: waits}, text.LevelWarning, "their handler needs", false},
		"reads nothing":        {Consumer{Exists: true, Processes: in(broker.BreakerClosed)}, text.LevelWarning, "read nothing", false},
		"silent":               {Consumer{Exists: true, Readers: 1}, text.LevelWarning, "no process with it answers", false},
		"lags":                 {Consumer{Exists: true, Readers: 2, Ready: busy + 1, Processes: in("")}, text.LevelWarning, "lags", false},
	} {
		require.Equal(t, c.level, c.Level(), name)
		require.Contains(t, c.Note(), c.note, name)
		require.Equal(t, c.orphan, c.Orphaned(), name)
		require.Equal(t, c.note == "", c.Remedy() == "", name)
	}
}

// management is an API that tells of one queue more than anybody remembers.
func management(t *testing.T, prefix string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/bindings/") {
			var bindings []any
			for _, of := range [][3]string{{".topics", "mailer", "order.placed"}, {".topics", "mailer", "order.old"}, {".notices", "mailer", "mailer"}} {
				bindings = append(bindings, map[string]any{"source": prefix + of[0], "destination": prefix + ".q." + of[1], "routing_key": of[2]})
			}
			_ = json.NewEncoder(w).Encode(bindings)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"page_count": 1, "items": []any{
			map[string]any{"name": prefix + ".q.mailer", "arguments": map[string]any{}, "messages_unacknowledged": 3, "head_message_timestamp": 1700000000},
			map[string]any{"name": prefix + ".q.forgotten", "arguments": map[string]any{}, "head_message_timestamp": ""},
			map[string]any{"name": prefix + ".dead", "arguments": map[string]any{}},
		}})
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestLook: what runs, what waits on the ladder, and then what nobody consumes any more.
func TestLook(t *testing.T) {
	t.Parallel()
	s, prefix := stacktest.Shared(t), stacktest.Prefix(t)
	address := stacktest.Database(t, s)
	db, err := gorm.Open(postgres.Open(address), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	require.NoError(t, barrier.Migrate(t.Context(), db))
	w, err := worker.New(worker.Options{Group: "orders", Temporal: stacktest.TemporalClient(t, s), Namespace: s.Namespace(),
		AMQPURL: s.AMQPURL(), DB: db, Prefix: prefix})
	require.NoError(t, err)
	failed := make(chan struct{}, 100)
	w.Consume(worker.Consumer{Name: "mailer", Topics: []string{"order.placed"}, HandleAtLeastOnce: func(context.Context, holdfast.Message) error {
		failed <- struct{}{}
		return errors.New("the mail server is away")
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	<-w.Ready()
	_, err = w.Send(t.Context(), holdfast.Message{Topic: "order.placed", Key: "1", Body: []byte(`{}`)},
		func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.NoError(t, err)
	<-failed

	config := &reach.Config{}
	require.NoError(t, config.ReadEnvironment([]string{"HOLDFAST_PREFIX=" + prefix, "AMQP_URL=" + s.AMQPURL(), "DATABASE_URL=" + address,
		"HOLDFAST_RABBITMQ_MANAGEMENT=" + management(t, prefix)}, time.Now))
	look := func(is func(Consumer) bool) (Seen, Consumer) {
		for {
			seen, err := Look(t.Context(), config)
			require.NoError(t, err)
			i := slices.IndexFunc(seen.Consumers, func(c Consumer) bool { return c.Name == "mailer" })
			if i >= 0 && is(seen.Consumers[i]) {
				return seen, seen.Consumers[i]
			}
		}
	}
	seen, c := look(func(c Consumer) bool { return len(c.Processes) == 1 && c.Ladder.Count == 1 && c.Remembered })
	require.Equal(t, []string{"order.placed"}, c.Topics)
	require.True(t, c.Exists)
	require.Equal(t, 3, *c.Unacknowledged)
	require.Equal(t, int64(1700000000), c.Oldest.Unix())
	require.False(t, c.Ladder.Since.IsZero())
	require.Len(t, c.Ladder.Delays, 1)
	require.Equal(t, []string{"order.old", "order.placed"}, c.Bound)
	require.Equal(t, []string{"order.old"}, c.Unwanted(), "a process listens to the other one")
	require.False(t, c.Orphaned())
	require.Empty(t, seen.Unknown)
	require.Equal(t, 1, seen.Answering)
	require.Len(t, seen.Halves, 1)
	require.Equal(t, "orders", seen.Halves[0].Group)
	require.Equal(t, 1, seen.Halves[0].Answered)
	i := slices.IndexFunc(seen.Consumers, func(c Consumer) bool { return c.Name == "forgotten" })
	require.GreaterOrEqual(t, i, 0, "a queue that only RabbitMQ knows")
	require.True(t, seen.Consumers[i].Oldest.IsZero())
	require.Nil(t, seen.Consumers[i].Unacknowledged)

	stop()
	config.Management = "http://127.0.0.1:1"
	seen, c = look(func(c Consumer) bool { return c.Orphaned() })
	require.Equal(t, text.LevelWarning, c.Level())
	require.Contains(t, c.Remedy(), "holdfast consumers forget mailer")
	require.Nil(t, c.Unacknowledged)
	require.Equal(t, "mailer", seen.Consumers[0].Name, "the worst come first")
	require.Contains(t, strings.Join(seen.Unknown, "\n"), "management API")
}

// TestWhoRemembers: a process that remembers a binding would make it again.
func TestWhoRemembers(t *testing.T) {
	t.Parallel()
	answers := []broker.ProcessStatus{
		{Instance: "a", Remembers: []broker.Bound{{Name: "mail", Topics: []string{"mail.due"}}}},
		{Instance: "b", Remembers: []broker.Bound{{Name: "mail", Topics: []string{"mail.due", "mail.old"}}}},
		{Instance: "c", Remembers: []broker.Bound{{Name: "stock", Topics: []string{"mail.old"}}}},
	}
	require.Equal(t, []string{"a", "b"}, remembering(answers, "mail", ""))
	require.Equal(t, []string{"b"}, remembering(answers, "mail", "mail.old"))
	require.Empty(t, remembering(answers, "mail", "mail.new"))
}
