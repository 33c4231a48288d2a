package worker_test

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/keyring"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

func TestInvalidOptions(t *testing.T) {
	t.Setenv("AMQP_URL", "")
	for name, o := range map[string]worker.Options{
		"no RabbitMQ":        {Group: group},
		"group with a slash": {Group: "a/b", AMQPURL: "amqp://h"},
		"prefix with space":  {Group: group, AMQPURL: "amqp://h", Prefix: "a b"},
		"instance":           {Group: group, AMQPURL: "amqp://h", Instance: "a*"},
		"negative timeout":   {Group: group, AMQPURL: "amqp://h", Timeouts: worker.Timeouts{Send: -1}},
		"negative retention": {Group: group, AMQPURL: "amqp://h", Retention: -1},
		"body limit":         {Group: group, AMQPURL: "amqp://h", Tuning: worker.Tuning{MaxBody: holdfast.MaxBody + 1}},
		"lane of a pattern":  {Group: group, AMQPURL: "amqp://h", Lanes: map[string]holdfast.Lane{"order.*": holdfast.Express}},
		"unknown lane":       {Group: group, AMQPURL: "amqp://h", Lanes: map[string]holdfast.Lane{"order": "fast"}},
		"schedule":           {Group: group, AMQPURL: "amqp://h", CheckBack: transactions.Schedule{Delays: []time.Duration{0}}},
		"a typed nil":        {Group: group, AMQPURL: "amqp://h", Signer: (*keyring.Signer)(nil)},
		"a nil keyring":      {Group: group, AMQPURL: "amqp://h", Keyring: (*keyring.File)(nil)},
	} {
		_, err := worker.New(o)
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
	}
	_, err := worker.New(worker.Options{Group: group, AMQPURL: "amqp://h", Signer: (*keyring.Signer)(nil)})
	require.ErrorContains(t, err, "Options.Signer is a nil *keyring.Signer: leave the field unset")
}

// TestNamesOfHosts: a host may be called as it likes; who gave no Instance is not to blame for it.
func TestNamesOfHosts(t *testing.T) {
	for host, want := range map[string]string{"web-1.example": "web-1.example", "Zürich host:1": "Z-rich-host-1", "": ""} {
		require.Equal(t, want, worker.NameOf(host))
	}
	require.NoError(t, holdfast.ValidateName("instance", worker.NameOf(strings.Repeat("é", 300))))
}

// subscribed is a consumer of a pattern.
func subscribed(pattern string) worker.Consumer {
	return worker.Consumer{Name: "a", Topics: []string{"fine.#", pattern}, HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }}
}

var noChecker = holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) { return holdfast.Unknown, nil })

func undoNothing(context.Context, *gorm.DB, holdfast.Message, holdfast.Failure) error { return nil }

func TestInvalidRegistrations(t *testing.T) {
	t.Parallel()
	handle := func(context.Context, *gorm.DB, holdfast.Message) error { return nil }
	local := func(context.Context, *gorm.DB, *holdfast.Message) error { return nil }
	atLeastOnce := func(context.Context, holdfast.Message) error { return nil }
	topics := []string{"a"}
	for name, register := range map[string]func(*worker.Worker){
		"consumer without name": func(w *worker.Worker) { w.Consume(worker.Consumer{Topics: topics, HandleAtLeastOnce: atLeastOnce}) },
		"consumer with a bad name": func(w *worker.Worker) {
			w.Consume(worker.Consumer{Name: "a b", Topics: topics, HandleAtLeastOnce: atLeastOnce})
		},
		"consumer without topics":   func(w *worker.Worker) { w.Consume(worker.Consumer{Name: "a", HandleAtLeastOnce: atLeastOnce}) },
		"consumer without handler":  func(w *worker.Worker) { w.Consume(worker.Consumer{Name: "a", Topics: topics}) },
		"consumer without database": func(w *worker.Worker) { w.Consume(worker.Consumer{Name: "a", Topics: topics, Handle: handle}) },
		"negative tries": func(w *worker.Worker) {
			w.Consume(worker.Consumer{Name: "a", Topics: topics, Tries: -1, HandleAtLeastOnce: atLeastOnce})
		},
		"two consumers of a name": func(w *worker.Worker) {
			c := worker.Consumer{Name: "a", Topics: topics, HandleAtLeastOnce: atLeastOnce}
			w.Consume(c)
			w.Consume(c)
		},
		"pattern with a space":     func(w *worker.Worker) { w.Consume(subscribed("order.placed ")) },
		"pattern of half a word":   func(w *worker.Worker) { w.Consume(subscribed("order.*placed")) },
		"pattern that ends in #":   func(w *worker.Worker) { w.Consume(subscribed("orders#")) },
		"pattern of empty words":   func(w *worker.Worker) { w.Consume(subscribed("order..placed")) },
		"Checker of a pattern":     func(w *worker.Worker) { w.Check("order.#", noChecker) },
		"Checker of a wrong topic": func(w *worker.Worker) { w.Check("order.placed ", noChecker) },
		"compensating a no topic":  func(w *worker.Worker) { w.Compensate("order placed", undoNothing) },
		"handler without name":     func(w *worker.Worker) { w.Local("", local) },
		"handler without function": func(w *worker.Worker) { w.Local("a", nil) },
		"two handlers of a name":   func(w *worker.Worker) { w.Local("a", local); w.Local("a", local) },
		"Checker without topic":    func(w *worker.Worker) { w.Check("", holdfast.CheckerFunc(nil)) },
		"topic without a Checker":  func(w *worker.Worker) { w.Check("a", nil) },
	} {
		w, err := worker.New(worker.Options{AMQPURL: "amqp://nobody.invalid"})
		require.NoError(t, err)
		register(w)
		require.ErrorIs(t, w.Run(t.Context()), holdfast.ErrInvalid, name)
		require.ErrorIs(t, w.Run(t.Context()), holdfast.ErrInvalid, "Run runs once")
	}
	w, err := worker.New(worker.Options{AMQPURL: "amqp://nobody.invalid"})
	require.NoError(t, err)
	w.Consume(subscribed("order.*placed"))
	require.ErrorContains(t, w.Run(t.Context()), `consumer a: holdfast: invalid: the pattern "order.*placed" would match nothing`)
}

func TestInvalidMessages(t *testing.T) { inLanes(t, testInvalidMessages) }

func testInvalidMessages(t *testing.T, l lane) {
	s := newSite(t)
	w := s.producer(l.set, func(o *worker.Options) { o.Tuning.MaxBody = 1000 })
	for name, change := range map[string]func(*holdfast.Message){
		"no topic":            func(m *holdfast.Message) { m.Topic = "" },
		"wildcard topic":      func(m *holdfast.Message) { m.Topic = "order.*" },
		"long topic":          func(m *holdfast.Message) { m.Topic = strings.Repeat("a", holdfast.MaxName+1) },
		"control character":   func(m *holdfast.Message) { m.Key = "a\nb" },
		"ID with slash":       func(m *holdfast.Message) { m.ID = "a/b" },
		"long ID":             func(m *holdfast.Message) { m.ID = strings.Repeat("a", holdfast.MaxID+1) },
		"reserved header":     func(m *holdfast.Message) { m.Headers = map[string]string{"Holdfast-Kind": "op"} },
		"header without name": func(m *holdfast.Message) { m.Headers = map[string]string{"": "x"} },
		"binary header":       func(m *holdfast.Message) { m.Headers = map[string]string{"x": "\xff"} },
		"large headers": func(m *holdfast.Message) {
			m.Headers = map[string]string{"x": strings.Repeat("x", holdfast.MaxHeaders)}
		},
		"unknown lane": func(m *holdfast.Message) { m.Lane = "fast" },
		"large body":   func(m *holdfast.Message) { m.Body = make([]byte, 1001) },
	} {
		m := order(newID())
		change(&m)
		want := holdfast.ErrInvalid
		if strings.HasPrefix(name, "large") {
			want = holdfast.ErrTooLarge
		}
		never := func(context.Context, *gorm.DB, *holdfast.Message) error {
			t.Error(name + ": the local transaction was run")
			return nil
		}
		receipt, err := w.Send(t.Context(), m, never)
		require.ErrorIs(t, err, want, name)
		require.Equal(t, holdfast.Unknown, receipt.Resolution)
		_, err = w.Begin(t.Context(), 0, m)
		require.ErrorIs(t, err, want, name)
		_, err = w.Start(t.Context(), "place", m)
		require.ErrorIs(t, err, want, name)
	}
	_, err := w.Send(t.Context(), order(""), nil)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	_, err = w.SendAll(t.Context(), nil, func(context.Context, *gorm.DB, []*holdfast.Message) error { return nil })
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	_, err = w.SendAll(t.Context(), make([]holdfast.Message, holdfast.MaxMessages+1), func(context.Context, *gorm.DB, []*holdfast.Message) error { return nil })
	require.ErrorIs(t, err, holdfast.ErrTooLarge)
	_, err = w.Start(t.Context(), "", order(""))
	require.ErrorIs(t, err, holdfast.ErrInvalid)

	// A body that the local transaction makes too large rolls back.
	id := newID()
	_, err = w.Send(t.Context(), order(id), func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		m.Body = make([]byte, 1001)
		return insert(ctx, tx, m)
	})
	require.ErrorIs(t, err, holdfast.ErrRolledBack)
	require.ErrorIs(t, err, holdfast.ErrTooLarge)
	require.Zero(t, s.ordered(id))
}

// TestUnavailable: what Run says when a part cannot be used.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const secret = "s3cr3t-word"
	nobody := unusedAddress(t)
	with := func(raw string, change func(*url.URL)) string {
		u, err := url.Parse(raw)
		require.NoError(t, err)
		change(u)
		return u.String()
	}
	badUser := func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), secret) }
	badHost := func(u *url.URL) { u.Host, u.User = nobody, url.UserPassword("u", secret) }
	for name, row := range map[string]struct {
		change func(*worker.Options)
		part   string
		says   []string
		atOnce bool
	}{
		"RabbitMQ refuses the password": {func(o *worker.Options) { o.AMQPURL = with(o.AMQPURL, badUser) },
			"RabbitMQ", []string{"check user and password in AMQP_URL"}, true},
		"RabbitMQ has no such virtual host": {func(o *worker.Options) { o.AMQPURL = with(o.AMQPURL, func(u *url.URL) { u.Path = "/nowhere" }) },
			"RabbitMQ", []string{"virtual host"}, true},
		"no RabbitMQ": {func(o *worker.Options) { o.AMQPURL = with(o.AMQPURL, badHost) },
			"RabbitMQ", []string{nobody, "refused", "AMQP_URL"}, false},
		"no PostgreSQL": {func(o *worker.Options) { o.DB = openDB(t, with(s.at.OrdersURL, badHost)) },
			"PostgreSQL", []string{nobody, "refused"}, false},
		"PostgreSQL has no such database": {func(o *worker.Options) {
			o.DB = openDB(t, with(s.at.OrdersURL, func(u *url.URL) { u.Path = "/nowhere" }))
		}, "PostgreSQL", []string{"nowhere", "check the user, the password and the database's name"}, true},
		"PostgreSQL has no such user": {func(o *worker.Options) {
			o.DB = openDB(t, with(s.at.OrdersURL, func(u *url.URL) { u.User = url.UserPassword("nemo", secret) }))
		}, "PostgreSQL", []string{"check the user, the password and the database's name"}, true},
		"not migrated": {func(o *worker.Options) { o.DB = openDB(t, stacktest.Database(t, s.stack)) },
			"PostgreSQL", []string{"not there", "holdfast migrate"}, false},
		"no Temporal": {func(o *worker.Options) { o.Temporal = dialTemporal(t, nobody, s.at.Namespace, nil) },
			"Temporal", []string{"refused", "TEMPORAL_ADDRESS"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.options()
			row.change(&o)
			ctx, cancel := context.WithTimeout(t.Context(), patience/2)
			defer cancel()
			start := func(limit time.Duration) (*worker.Worker, error) {
				o.Timeouts.Start = limit
				w, err := worker.New(o)
				require.NoError(t, err)
				err = w.Run(ctx)
				require.NoError(t, ctx.Err(), "it did not give up by itself")
				return w, err
			}
			limit := 2 * time.Second
			if row.atOnce {
				limit = patience
			}
			w, err := start(limit)
			missing := func(text string) bool { return err != nil && !strings.Contains(err.Error(), text) }
			for !row.atOnce && slices.ContainsFunc(row.says, missing) {
				limit *= 2 // a busy machine had not the time for one try
				w, err = start(limit)
			}
			var unavailable *holdfast.UnavailableError
			require.ErrorAs(t, err, &unavailable)
			require.Equal(t, row.part, unavailable.Part)
			require.NotEmpty(t, unavailable.Remedy)
			for _, text := range row.says {
				require.ErrorContains(t, err, text)
			}
			require.NotContains(t, err.Error(), secret)
			_, err = w.Send(t.Context(), order(""), insert)
			require.ErrorIs(t, err, holdfast.ErrNotRunning)
		})
	}

	t.Run("an address that is none", func(t *testing.T) {
		o := s.options()
		o.AMQPURL = "amqp://user:" + secret + "@[::1:5672"
		w, err := worker.New(o)
		if err == nil {
			err = w.Run(t.Context())
		}
		require.ErrorIs(t, err, holdfast.ErrInvalid)
		require.NotContains(t, err.Error(), secret)
	})

	t.Run("a part that comes late", func(t *testing.T) {
		late := newRelay(t, hostOf(t, s.at.AMQPURL))
		late.refuse(true)
		o := s.options()
		o.AMQPURL = with(o.AMQPURL, func(u *url.URL) { u.Host = late.address() })
		w, err := worker.New(o)
		require.NoError(t, err)
		r := start(t, w)
		until(t, "a try that fails", func() bool { return late.refusals() > 0 })
		late.refuse(false)
		select {
		case <-w.Ready():
		case <-time.After(patience):
			require.FailNow(t, "never ready")
		}
		r.stop()
	})
}

// unusedAddress is an address at which nobody listens.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
