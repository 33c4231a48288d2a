package cli

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/cli/setup"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// grantees makes users of RabbitMQ with what `holdfast topology permissions` prints for
// each of some arguments, and returns their addresses.
func grantees(t *testing.T, s *stack.Stack, prefix string, roles map[string][]string) map[string]string {
	t.Helper()
	base, err := url.Parse(s.AMQPURL())
	require.NoError(t, err)
	vhost := "/"
	if path := strings.TrimPrefix(base.Path, "/"); path != "" {
		vhost = path
	}
	type m = map[string]any
	var all struct {
		Users []m `json:"users"`
		setup.Definitions
	}
	urls := map[string]string{}
	for name, args := range roles {
		user := prefix + "-" + name
		hash := sha256.Sum256([]byte("saltpw"))
		all.Users = append(all.Users, m{"name": user, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []string{},
			"password_hash": base64.StdEncoding.EncodeToString(append([]byte("salt"), hash[:]...))})
		r := runProgram(t, nil, append([]string{"topology", "permissions", "--prefix", prefix, "--user", user, "--vhost", vhost, "--json"}, args...)...)
		require.Equal(t, frame.ExitOK, r.status, r.err)
		var d setup.Definitions
		require.NoError(t, json.Unmarshal([]byte(r.out), &d))
		all.Permissions = append(all.Permissions, d.Permissions...)
		all.TopicPermissions = append(all.TopicPermissions, d.TopicPermissions...)
		own := *base
		own.User = url.UserPassword(user, "pw")
		urls[name] = own.String()
	}
	text, err := json.Marshal(all)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "definitions.json")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	stacktest.RabbitMQ(t, s, "rabbitmqctl", "-q", "import_definitions", file)
	return urls
}

// declaredAs has an administrator declare what an installation needs, and removes it in
// the end.
func declaredAs(t *testing.T, s *stack.Stack, args ...string) {
	t.Helper()
	env := []string{"AMQP_URL=" + s.AMQPURL()}
	list := runProgram(t, env, append([]string{"topology", "list"}, args...)...)
	require.Equal(t, frame.ExitOK, list.status, list.err)
	t.Cleanup(func() {
		var queues []string
		for line := range strings.Lines(list.out) {
			if q, ok := strings.CutPrefix(strings.TrimSpace(line), "queue "); ok {
				queues = append(queues, q)
			}
		}
		stacktest.DeleteQueues(t, s.AMQPURL(), queues...)
	})
	r := runProgram(t, env, append([]string{"topology", "declare"}, args...)...)
	require.Equal(t, frame.ExitOK, r.status, r.err)
}

// logged collects what processes log at Info and above.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Enabled(_ context.Context, at slog.Level) bool { return at >= slog.LevelInfo }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler            { return l }
func (l *logged) WithGroup(string) slog.Handler                 { return l }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// with are the lines that have a text.
func (l *logged) with(text string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}

var errNotYet = errors.New("not yet")

// minimal are two processes, a group's and a participant's, that declare nothing, and
// whose users have the rights that `holdfast topology permissions` prints, and no others.
type minimal struct {
	t           *testing.T
	stack       *stack.Stack
	prefix      string
	urls        map[string]string
	db          *gorm.DB
	temporal    client.Client
	log         logged
	first       sync.Map // topics of which a message was tried
	got, undone chan string
	asked       chan string
	sh          *shop
}

// ordering are sagas that ask a participant, in each lane.
func ordering(lane holdfast.Lane) saga.Saga[string] {
	return saga.Saga[string]{Name: "in-" + string(lane), Lane: lane, Key: func(x string) string { return x },
		Steps: []saga.Step[string]{saga.Message("reserve", "stock.reserve", "stock.release"), saga.Local("refuse",
			func(_ context.Context, _ *gorm.DB, x *string) error {
				if strings.HasPrefix(*x, "no") {
					return saga.Refuse("no")
				}
				return nil
			}, nil).NoUndo()}}
}

func newMinimal(t *testing.T, flags ...string) *minimal {
	s := stacktest.Shared(t)
	m := &minimal{t: t, stack: s, prefix: stacktest.Prefix(t), temporal: stacktest.TemporalClient(t, s),
		got: make(chan string, 100), undone: make(chan string, 10), asked: make(chan string, 10)}
	_, m.db = migrated(t)
	_, theirs := migrated(t)
	declaredAs(t, s, "--prefix", m.prefix, "--group", "g", "--sagas", "g", "--consumer", "its=a.#", "--consumer", "stock=stock.reserve,stock.release",
		"--delay", "1s", "--delay", "5s", "--hook", "g=consumer.its,group.g", "--hook", "@stock=consumer.stock")
	m.urls = grantees(t, s, m.prefix, map[string][]string{
		"service":     append([]string{"worker", "--no-declare", "--group", "g", "--consumer", "its"}, flags...),
		"participant": append([]string{"participant", "--no-declare", "--participant", "stock"}, flags...)})
	w, err := worker.New(worker.Options{Group: "g", Temporal: m.temporal, Namespace: s.Namespace(), AMQPURL: m.urls["service"], DB: m.db, Prefix: m.prefix,
		Declare: new(false), Logger: slog.New(&m.log), CheckAfter: time.Second, OnAlert: func(context.Context, holdfast.Alert) {}})
	require.NoError(t, err)
	w.Consume(worker.Consumer{Name: "its", Topics: []string{"a.#"}, Tries: 1, Ladder: []time.Duration{time.Second},
		HandleAtLeastOnce: func(_ context.Context, msg holdfast.Message) error {
			if _, again := m.first.LoadOrStore(msg.ID, true); !again {
				switch msg.Topic {
				case "a.retry":
					return errNotYet
				case "a.dead", "a.undone":
					return holdfast.Permanent(errNotYet)
				}
			}
			m.got <- msg.Topic
			return nil
		}})
	w.Compensate("a.undone", func(_ context.Context, _ *gorm.DB, msg holdfast.Message, _ holdfast.Failure) error {
		m.undone <- msg.Topic
		return nil
	})
	w.Saga(ordering(holdfast.Traced))
	w.Saga(ordering(holdfast.Express))
	stock, err := worker.New(worker.Options{AMQPURL: m.urls["participant"], DB: theirs, Prefix: m.prefix, Declare: new(false),
		Logger: slog.New(&m.log), OnAlert: func(context.Context, holdfast.Alert) {}})
	require.NoError(t, err)
	say := func(what string) worker.Participation {
		return func(context.Context, *gorm.DB, holdfast.Message) (any, error) { m.asked <- what; return nil, nil }
	}
	stock.Participate(worker.Participant{Name: "stock", Topic: "stock.reserve", UndoTopic: "stock.release", Do: say("reserved"), Undo: say("released")})
	(&shop{t: t, w: stock}).run()
	m.sh = &shop{t: t, w: w, env: []string{"USER=ann", "HOLDFAST_TIMEOUT=2m", "HOLDFAST_PREFIX=" + m.prefix, "AMQP_URL=" + s.AMQPURL(),
		"TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}}
	m.sh.run()
	return m
}

func (m *minimal) next(c chan string) string {
	m.t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(patience):
		m.t.Fatalf("nothing came; the log: %s", strings.Join(m.log.with(""), "\n"))
		return ""
	}
}

func (m *minimal) send(topic string, lane holdfast.Lane) {
	m.t.Helper()
	m.sh.sends(holdfast.Message{Topic: topic, Lane: lane})
}

// TestMinimalRights: what a group's process and a participant do, in both lanes, with
// retries, dead letters, compensation, sagas and the Keeper, needs no right that
// `holdfast topology permissions` does not print, and none to declare.
func TestMinimalRights(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"alone": nil, "with answers": {"--answers"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testMinimalRights(t, flags...)
		})
	}
}

func testMinimalRights(t *testing.T, flags ...string) {
	m := newMinimal(t, flags...)
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		m.send("a.sent", lane)
		require.Equal(t, "a.sent", m.next(m.got))
		m.send("a.retry", lane)
		require.Equal(t, "a.retry", m.next(m.got), "over the delay queue")

		h, err := worker.StartSaga(t.Context(), m.sh.w, ordering(lane), "yes "+string(lane))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, "reserved", m.next(m.asked))
		h, err = worker.StartSaga(t.Context(), m.sh.w, ordering(lane), "no "+string(lane))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
		require.Equal(t, []string{"reserved", "released"}, []string{m.next(m.asked), m.next(m.asked)})
	}

	m.send("a.dead", holdfast.Express)
	m.sh.answered(func(r result) bool { return strings.Contains(r.out, "a.dead") && strings.Contains(r.out, "parked") },
		"dead", "list", "--consumer", "its")
	r := m.sh.holdfast("dead", "redeliver", "--consumer", "its", "--topic", "a.dead", "--reason", "x", "--yes", "--wait", "1m")
	require.Equal(t, frame.ExitOK, r.status, r)
	require.Equal(t, "a.dead", m.next(m.got))
	m.send("a.undone", holdfast.Traced)
	m.sh.answered(func(r result) bool { return strings.Contains(r.out, "a.undone") && strings.Contains(r.out, "parked") },
		"dead", "list", "--consumer", "its")
	r = m.sh.holdfast("dead", "compensate", "--consumer", "its", "--topic", "a.undone", "--reason", "x", "--yes")
	require.Equal(t, frame.ExitOK, r.status, r)
	require.Equal(t, "a.undone", m.next(m.undone))

	// A half message whose sender has died: the Keeper hands it over, and it is checked
	// back.
	id := uuid.NewString()
	dying, err := broker.Open(t.Context(), broker.Options{URL: m.urls["service"], Prefix: m.prefix, NoDeclare: true})
	require.NoError(t, err)
	require.NoError(t, dying.PublishHalf(t.Context(), holdfast.Half{TxID: id, Group: "g", Lane: holdfast.Express,
		Messages: []holdfast.Message{{ID: id, Topic: "a.lost"}}}))
	require.NoError(t, dying.Close(t.Context()))
	m.sh.eventually(func() bool {
		var n int64
		require.NoError(t, m.db.Raw("SELECT count(*) FROM holdfast_outcomes WHERE tx_id = ? AND resolution = 'rollback'", id).Scan(&n).Error)
		return n == 1
	}, func() string { return "no check-back: " + strings.Join(m.log.with(""), "\n") })

	answers := len(flags) > 0
	doctor := []string{"doctor", "--json", "--skip", "postgresql,temporal,waiting", "--group", "g", "--consumer", "its"}
	if answers {
		m.sh.answered(func(r result) bool {
			return strings.Count(r.out, m.prefix) > 0 && strings.Contains(r.out, "2 processes")
		}, doctor...)
		require.Empty(t, m.log.with("a queue of its own for replies"), "it has one")
	}
	for _, line := range m.log.with("ACCESS_REFUSED") {
		common := strings.Contains(line, "alerts that nobody took")
		require.True(t, common || !answers && strings.Contains(line, "amq.default"), line)
	}
	require.ErrorContains(t, makes(m.urls["service"], m.prefix+".q.more"), "ACCESS_REFUSED")
	require.ErrorContains(t, makes(m.urls["participant"], m.prefix+".replies.g@x"), "ACCESS_REFUSED")
}

// TestMinimalKeeper: a keeper of a group in another language, and a program of that group,
// each with the rights that are printed for it. What the program says of its topics the
// keeper publishes with its own rights: beyond them nothing is delivered, nor lost.
func TestMinimalKeeper(t *testing.T) {
	t.Parallel()
	s, prefix := stacktest.Shared(t), stacktest.Prefix(t)
	declaredAs(t, s, "--prefix", prefix, "--group", "g", "--checks", "g", "--consumer", "books=#")
	topics := []string{"--group", "g", "--topic", "order.#"}
	urls := grantees(t, s, prefix, map[string][]string{"keeper": append([]string{"keeper"}, topics...), "producer": append([]string{"producer"}, topics...)})
	var log logged
	w, err := worker.New(worker.Options{Group: "g", Temporal: stacktest.TemporalClient(t, s), Namespace: s.Namespace(), AMQPURL: urls["keeper"], Prefix: prefix,
		RemoteCheck: true, Declare: new(false), CheckAfter: time.Second, Logger: slog.New(&log)})
	require.NoError(t, err)
	sh := &shop{t: t, w: w}
	sh.run()

	conn, err := amqp.Dial(urls["producer"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	requests, err := ch.Consume(prefix+".check.g", "", true, false, false, false, nil)
	require.NoError(t, err)
	go func() {
		for d := range requests {
			_ = ch.Publish(prefix+".answers", d.ReplyTo, false, false, amqp.Publishing{CorrelationId: d.CorrelationId,
				Body: []byte(`{"v":1,"answers":[{"tx":"may","resolution":"commit"},{"tx":"may-not","resolution":"commit"}]}`)})
		}
	}()
	b, err := broker.Open(t.Context(), broker.Options{URL: urls["producer"], Prefix: prefix, NoDeclare: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close(context.WithoutCancel(t.Context()))) }()
	for id, topic := range map[string]string{"may": "order.placed", "may-not": "secret.read"} {
		require.NoError(t, b.PublishHalf(t.Context(), holdfast.Half{TxID: id, Group: "g", Lane: holdfast.Express, Messages: []holdfast.Message{{ID: id, Topic: topic}}}))
	}
	admin, err := amqp.Dial(s.AMQPURL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	books, err := admin.Channel()
	require.NoError(t, err)
	delivered, err := books.Consume(prefix+".q.books", "", true, false, false, false, nil)
	require.NoError(t, err)
	select {
	case d := <-delivered:
		require.Equal(t, "may", d.MessageId)
	case <-time.After(patience):
		t.Fatal("nothing was delivered: " + strings.Join(log.with(""), "\n"))
	}
	sh.eventually(func() bool {
		return len(log.with("write permission for topic secret.read of exchange "+prefix+".topics")) > 0
	},
		func() string { return strings.Join(log.with(""), "\n") })
	env := []string{"USER=ann", "HOLDFAST_TIMEOUT=2m", "HOLDFAST_PREFIX=" + prefix, "TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}
	sh.env = env
	sh.answered(func(r result) bool {
		return strings.Contains(r.out, "secret.read") && strings.Contains(r.out, "delivering")
	}, "tx", "list")
	require.Empty(t, delivered)
}

// makes is what comes of an attempt to make a queue.
func makes(address, queue string) error {
	conn, err := amqp.Dial(address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	return err
}
