package worker_test

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// openIn is a site whose environment names its own servers. Its test is not parallel:
// the environment is the process's.
func openIn(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	named, err := url.Parse(s.at.OrdersURL)
	require.NoError(t, err)
	query := named.Query()
	query.Set("application_name", s.at.Prefix)
	named.RawQuery = query.Encode()
	for name, value := range map[string]string{"AMQP_URL": s.at.AMQPURL, "DATABASE_URL": named.String(), "HOLDFAST_PREFIX": s.at.Prefix,
		"TEMPORAL_ADDRESS": s.at.Temporal, "TEMPORAL_NAMESPACE": s.at.Namespace} {
		t.Setenv(name, value)
	}
	return s
}

// connected is how many connections to PostgreSQL the worker of the environment has.
func (s *site) connected() int {
	return s.count(s.orders, "SELECT count(*) FROM pg_stat_activity WHERE application_name = ?", s.at.Prefix)
}

func (s *site) disconnected() {
	s.t.Helper()
	until(s.t, "the database's connections are closed", func() bool { return s.connected() == 0 })
}

// TestOpen: a worker from nothing but the environment, which closes what it opened.
func TestOpen(t *testing.T) {
	s := openIn(t)
	s.consuming(payments(s.effects))
	var temporal client.Client
	for name, end := range map[string]func(w *worker.Worker, stop func(), ended <-chan error) error{
		"by its context": func(_ *worker.Worker, stop func(), ended <-chan error) error { stop(); return <-ended },
		"by Close":       func(w *worker.Worker, _ func(), ended <-chan error) error { _ = w.Close(); return <-ended },
	} {
		w, err := worker.Open(t.Context(), group)
		require.NoError(t, err, name)
		temporal = w.TemporalClient()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		id := newID()
		_, err = w.Send(t.Context(), order(id), insert)
		require.NoError(t, err, name)
		require.Equal(t, 1, s.ordered(id), "in the database of DATABASE_URL")
		require.NoError(t, w.DB().Exec("SELECT 1").Error)
		require.Equal(t, id, s.oneEffect(id).MessageID, "with the prefix of HOLDFAST_PREFIX")

		require.NoError(t, end(w, stop, ended), name)
		stop()
		require.ErrorContains(t, w.DB().Exec("SELECT 1").Error, "database is closed", name)
		s.disconnected()
		_, err = temporal.CheckHealth(t.Context(), &client.CheckHealthRequest{})
		require.ErrorContains(t, err, "closing", name)
		require.NoError(t, w.Close(), "a second time")
	}
}

// TestOpenKeepsToTheCallers: what the caller brings is used, and stays open.
func TestOpenKeepsToTheCallers(t *testing.T) {
	s := openIn(t)
	t.Setenv("DATABASE_URL", "")
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	w, err := worker.Open(t.Context(), group, func(o *worker.Options) { o.DB, o.Temporal = s.orders, s.temporal })
	require.NoError(t, err)
	require.Same(t, s.orders, w.DB())
	require.NoError(t, w.Close())
	require.NoError(t, s.orders.Exec("SELECT 1").Error)
	_, err = s.temporal.CheckHealth(t.Context(), &client.CheckHealthRequest{})
	require.NoError(t, err)
	require.ErrorIs(t, w.Run(t.Context()), holdfast.ErrInvalid, "after Close")
	_, err = w.Send(t.Context(), order(newID()), insert)
	require.ErrorIs(t, err, holdfast.ErrNotRunning)
}

// TestOpenWithoutTemporal: who does not need it is not asked for it.
func TestOpenWithoutTemporal(t *testing.T) {
	s := openIn(t)
	t.Setenv("TEMPORAL_CONFIG_FILE", t.TempDir()+"/none.toml")
	t.Setenv("TEMPORAL_ADDRESS", "")
	express := func(o *worker.Options) { o.Lane = holdfast.Express }
	w, err := worker.Open(t.Context(), group, express)
	require.NoError(t, err)
	require.Nil(t, w.TemporalClient())
	require.NoError(t, w.Close())

	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1") // it is used, but not waited for
	w, err = worker.Open(t.Context(), group, express)
	require.NoError(t, err)
	require.NotNil(t, w.TemporalClient())
	require.NoError(t, w.Close())

	t.Setenv("DATABASE_URL", "")
	w, err = worker.Open(t.Context(), group, express, sendOnly)
	require.NoError(t, err)
	require.Nil(t, w.DB(), "what starts handlers and sagas of others needs none")
	require.NoError(t, w.Close())
	t.Setenv("DATABASE_URL", s.at.OrdersURL)

	w, err = worker.Open(t.Context(), "")
	require.NoError(t, err)
	s.consumers["audit"] = true
	got := &audit{}
	w.Consume(got.consumer())
	r := runWorker(t, w)
	id := newID()
	_, err = s.producer().Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	until(t, "the consumer gets the message", func() bool { return got.of(id) > 0 })
	r.stop()
	s.disconnected()
}

// TestOpenSaysWhatIsMissing: which variable is missing or wrong, and what to write there.
func TestOpenSaysWhatIsMissing(t *testing.T) {
	s := openIn(t)
	for name, c := range map[string]struct {
		set  map[string]string
		says []string
	}{
		"nothing": {map[string]string{"AMQP_URL": "", "DATABASE_URL": ""},
			[]string{"AMQP_URL", "set DATABASE_URL, for example to postgres://user:password@host:5432/database"}},
		"no RabbitMQ": {map[string]string{"AMQP_URL": ""}, []string{"set Options.AMQPURL or AMQP_URL"}},
		"no URLs": {map[string]string{"AMQP_URL": "amqp://ann:s3cr%et@host", "DATABASE_URL": "postgres://ann:s3cr%et@host"},
			[]string{"DATABASE_URL is no URL for PostgreSQL"}},
		"no AMQP URL":    {map[string]string{"AMQP_URL": "amqp://ann:s3cr%et@host"}, []string{"AMQP_URL is no URL for RabbitMQ"}},
		"no duration":    {map[string]string{"HOLDFAST_CONSUMER_TIMEOUT": "soon"}, []string{`HOLDFAST_CONSUMER_TIMEOUT is "soon"`, "30m"}},
		"no yes or no":   {map[string]string{"HOLDFAST_DECLARE": "yes"}, []string{`HOLDFAST_DECLARE is "yes": want true or false`}},
		"no certificate": {map[string]string{"TEMPORAL_TLS_CLIENT_CERT_PATH": "/nowhere", "TEMPORAL_TLS_CLIENT_KEY_PATH": "/nowhere"}, []string{"TEMPORAL_"}},
	} {
		t.Run(name, func(t *testing.T) {
			for variable, value := range c.set {
				t.Setenv(variable, value)
			}
			var log said
			_, err := worker.Open(t.Context(), group, func(o *worker.Options) { o.Logger = slog.New(&log) })
			require.ErrorIs(t, err, holdfast.ErrInvalid)
			for _, text := range c.says {
				require.ErrorContains(t, err, text)
			}
			require.NotContains(t, err.Error()+strings.Join(log.lines, "\n"), "s3cr")
		})
	}
	_, err := worker.Open(t.Context(), "no group's name")
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	s.disconnected()
}

// TestOpenWhileServersAreAway: all that are away are named before the deadline, and
// what was opened is closed.
func TestOpenWhileServersAreAway(t *testing.T) {
	s := openIn(t)
	silent := silentServer(t)
	away := map[string]struct{ variable, value string }{
		"RabbitMQ":   {"AMQP_URL", "amqp://ann:s3cret@" + silent + "/"},
		"PostgreSQL": {"DATABASE_URL", "postgres://ann:s3cret@" + silent + "/orders?sslmode=disable"},
		"Temporal":   {"TEMPORAL_ADDRESS", silent},
	}
	for part, c := range away {
		t.Run(part, func(t *testing.T) {
			t.Setenv(c.variable, c.value)
			var log said
			limit := 2 * time.Second
			until(t, part+" is the first that is away", func() bool { // the others may need longer on a slow machine
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				limit = min(2*limit, patience/4)
				began := time.Now()
				_, err := worker.Open(ctx, group, func(o *worker.Options) { o.Logger = slog.New(&log) })
				var unavailable *holdfast.UnavailableError
				require.ErrorAs(t, err, &unavailable)
				require.Less(t, time.Since(began), patience/2, "the deadline counts")
				require.ErrorContains(t, err, silent)
				require.ErrorContains(t, err, c.variable)
				require.NotContains(t, err.Error()+strings.Join(log.lines, "\n"), "s3cret")
				return unavailable.Part == part
			})
			s.disconnected()
		})
	}
	t.Run("all", func(t *testing.T) {
		for _, c := range away {
			t.Setenv(c.variable, c.value)
		}
		_, err := worker.Open(t.Context(), group, func(o *worker.Options) { o.Timeouts.Start = time.Second })
		for part, c := range away {
			require.ErrorContains(t, err, part)
			require.ErrorContains(t, err, c.variable)
		}
	})
}

// TestOpenBeforeMigrate: the application's tables and Holdfast's are made with the
// database that Open opened; Run says what is missing without them.
func TestOpenBeforeMigrate(t *testing.T) {
	s := openIn(t)
	t.Setenv("DATABASE_URL", stacktest.Database(t, s.stack))
	// Run waits that long for the tables, and Open for the servers.
	w, err := worker.Open(t.Context(), group, func(o *worker.Options) { o.Timeouts.Start = 15 * time.Second })
	require.NoError(t, err)
	err = w.Run(t.Context())
	require.ErrorContains(t, err, "run `holdfast migrate`")
	require.ErrorIs(t, w.Close(), err)

	w, err = worker.Open(t.Context(), group)
	require.NoError(t, err)
	type purchase struct{ ID string }
	require.NoError(t, w.DB().AutoMigrate(&purchase{}))
	require.NoError(t, barrier.Migrate(t.Context(), w.DB()))
	require.NoError(t, w.Close())
	w, err = worker.Open(t.Context(), group)
	require.NoError(t, err)
	runWorker(t, w).stop()
}

// silentServer accepts connections, and says nothing.
func silentServer(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	return l.Addr().String()
}
