package nodeproducer

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// patience is how long tests wait for what must happen. It says nothing about
// how fast it is.
const patience = 5 * time.Minute

const group = "orders"

// programs is a folder with the programs and their npm packages, made once.
var programs struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	code := stacktest.Main(m)
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// install copies the programs and installs their packages. Without Node the test
// is skipped, unless HOLDFAST_NODE says that there has to be one.
func install(t *testing.T) (dir string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("HOLDFAST_NODE") == "required" {
				t.Fatalf("HOLDFAST_NODE=required, but there is no %s: make node installs it", tool)
			}
			t.Skipf("NOT TESTED: the producer in Node, since there is no %s (18 or later): `make node` installs it on Debian", tool)
		}
	}
	programs.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "holdfast-node-"); programs.err != nil {
			return
		}
		names, err := filepath.Glob("*.mjs")
		if err != nil {
			programs.err = err
			return
		}
		for _, name := range append(names, "package.json", "package-lock.json") {
			if err := copyFile(filepath.Join(programs.dir, name), name); err != nil {
				programs.err = err
				return
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		npm := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund")
		npm.Dir = programs.dir
		if out, err := npm.CombinedOutput(); err != nil {
			programs.err = fmt.Errorf("npm ci: %w\n%s", err, out)
		}
	})
	require.NoError(t, programs.err)
	return programs.dir
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// site is a test's own corner of the stack.
type site struct {
	t                     *testing.T
	dir, prefix, database string
	amqp                  string // for the programs; a test may lead them elsewhere
	amqpURL               string
	halfQueues            int
	rolling               bool // a Keeper of an older version runs
	temporal              client.Client
	namespace             string

	mu        sync.Mutex
	delivered map[string][]holdfast.Message // by transaction
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := install(t)
	st := stacktest.Shared(t)
	s := &site{t: t, dir: dir, prefix: stacktest.Prefix(t), database: stacktest.Database(t, st), amqp: st.AMQPURL(), amqpURL: st.AMQPURL(),
		halfQueues: 1, temporal: stacktest.TemporalClient(t, st), namespace: st.Namespace(), delivered: map[string][]holdfast.Message{}}
	t.Cleanup(func() {
		var queues []string
		for _, q := range []string{"half.orders", "half.orders#2", "half.orders#3", "half.shop", "check.orders", "dead", "dead.oversized", "replies.shop",
			"q.books", "alone.books", "q.node-stock", "retry.10s", "retry.30s", "retry.1m", "retry.5m", "retry.15m", "retry.1h"} {
			queues = append(queues, s.prefix+"."+q)
		}
		stacktest.DeleteQueues(t, s.amqpURL, queues...)
	})
	return s
}

// keep runs the worker of the group, which also consumes what its processes send.
func (s *site) keep() {
	s.t.Helper()
	s.run(worker.Options{Group: group, RemoteCheck: true, CheckAfter: 5 * time.Second,
		CheckBack: transactions.Schedule{Delays: []time.Duration{200 * time.Millisecond}, MaxChecks: 1_000_000}}, func(w *worker.Worker) {
		w.Consume(worker.Consumer{Name: "books", Topics: []string{"order.#"}, HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.delivered[m.ID] = append(s.delivered[m.ID], m)
			return nil
		}})
	})
}

// run runs a worker until the test's end.
func (s *site) run(o worker.Options, register func(*worker.Worker)) *worker.Worker {
	s.t.Helper()
	o.Temporal, o.Namespace, o.AMQPURL, o.Prefix = s.temporal, s.namespace, s.amqpURL, s.prefix
	o.Logger = slog.New(slog.NewTextHandler(testWriter{s.t}, nil))
	w, err := worker.New(o)
	require.NoError(s.t, err)
	register(w)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		require.NoError(s.t, <-ended)
	})
	select {
	case <-w.Ready():
	case err := <-ended:
		ended <- err
		require.NoError(s.t, err)
	case <-time.After(patience):
		require.FailNow(s.t, "the worker is never ready")
	}
	return w
}

// message waits for the message of a transaction.
func (s *site) message(tx string) (m holdfast.Message) {
	s.t.Helper()
	s.until("delivery of "+tx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.delivered[tx]) == 0 {
			return false
		}
		m = s.delivered[tx][0]
		return true
	})
	return m
}

// order is what the programs send.
type order struct {
	Number   int
	Customer string
	Amount   int
}

// placed waits for the message about an order, which has what only the local
// transaction knew: its number.
func (s *site) placed(tx string) (o order) {
	s.t.Helper()
	m := s.message(tx)
	require.NoError(s.t, json.Unmarshal(m.Body, &o), "%s", m.Body)
	require.Equal(s.t, o.Customer, m.Key)
	require.Positive(s.t, o.Number, "the message is the changed one")
	return o
}

func (s *site) until(what string, cond func() bool) {
	s.t.Helper()
	require.Eventually(s.t, cond, patience, 20*time.Millisecond, what)
}

// member asks the workflow of a transaction that its group cannot decide.
func (s *site) member(tx string) (m transactions.MemberStatus, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a query of a workflow that just starts can hang; it is asked again
	defer cancel()
	v, err := s.temporal.QueryWorkflow(ctx, workflows.WorkflowID(s.prefix, group, tx), "", workflows.QueryStatus)
	var status transactions.Status
	if err != nil || v.Get(&status) != nil || len(status.Transactions) != 1 {
		return m, false
	}
	return status.Transactions[0], true
}

// db opens the programs' database.
func (s *site) db() *gorm.DB {
	s.t.Helper()
	db, err := gorm.Open(postgres.Open(s.database), &gorm.Config{Logger: logger.Discard})
	require.NoError(s.t, err)
	pool, err := db.DB()
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = pool.Close() })
	return db
}

// broker opens a connection past the programs.
func (s *site) broker() *broker.Broker {
	s.t.Helper()
	b, err := broker.Open(s.t.Context(), broker.Options{URL: s.amqpURL, Prefix: s.prefix})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// program is a running Node process.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed

	mu    sync.Mutex
	lines []string
}

// node starts one of the programs.
func (s *site) node(args ...string) *program {
	s.t.Helper()
	p := &program{t: s.t, cmd: exec.Command("node", args...), done: make(chan struct{})}
	p.cmd.Dir = s.dir
	p.cmd.Env = append(os.Environ(), "AMQP_URL="+s.amqp, "DATABASE_URL="+s.database, "HOLDFAST_PREFIX="+s.prefix,
		fmt.Sprintf("HALF_QUEUES=%d", s.halfQueues))
	if s.rolling {
		p.cmd.Env = append(p.cmd.Env, "HOLDFAST_ROLLING_UPGRADE=1")
	}
	out, in, err := os.Pipe()
	require.NoError(s.t, err)
	p.cmd.Stdout, p.cmd.Stderr = in, in
	require.NoError(s.t, p.cmd.Start())
	_ = in.Close()
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			p.mu.Unlock()
		}
		p.err = p.cmd.Wait()
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
		if s.t.Failed() {
			s.t.Logf("node %s:\n%s", strings.Join(args, " "), p.output())
		}
	})
	return p
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// says waits for a line, and returns what its first group matches.
func (p *program) says(pattern string) string {
	p.t.Helper()
	line := regexp.MustCompile("(?m)^" + pattern + "$")
	deadline := time.After(patience)
	for {
		if found := line.FindStringSubmatch(p.output()); found != nil {
			return found[len(found)-1]
		}
		select {
		case <-p.done:
			if line.FindString(p.output()) == "" {
				require.FailNow(p.t, "it ended without saying "+pattern, "%v\n%s", p.err, p.output())
			}
		case <-deadline:
			require.FailNow(p.t, "it does not say "+pattern, p.output())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kill is SIGKILL.
func (p *program) kill() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Kill())
	<-p.done
}

// ended waits for the end, and returns the exit status.
func (p *program) ended() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		require.FailNow(p.t, "it does not end", p.output())
	}
	return p.cmd.ProcessState.ExitCode()
}

// testWriter shows the log of a failed test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// wire leads the site's programs over a proxy, whose connections cut cuts.
func (s *site) wire() (cut func()) {
	s.t.Helper()
	to, err := url.Parse(s.amqpURL)
	require.NoError(s.t, err)
	rabbit := to.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	var mu sync.Mutex
	var open []net.Conn
	cut = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
		open = nil
	}
	s.t.Cleanup(func() { _ = l.Close(); cut() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", rabbit)
			if err != nil {
				_ = near.Close()
				continue
			}
			mu.Lock()
			open = append(open, near, far)
			mu.Unlock()
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
		}
	}()
	to.Host = l.Addr().String()
	s.amqp = to.String()
	return cut
}
