package load

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"golang.org/x/crypto/bcrypt"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/cli"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

const (
	// roleEnv says that this process is a child of the test, and which one.
	roleEnv = "HOLDFAST_TEST_LOAD"
	// heapEnv names the file that the command's process writes its largest heap into.
	heapEnv = "HOLDFAST_TEST_LOAD_HEAP"

	theCommand, theFill = "holdfast", "fill"

	// patience is how long tests wait for what must happen. It says nothing about how fast it
	// is.
	patience = 10 * time.Minute
	password = "correct horse"
)

// TestMain runs the tests, or a child process of them.
func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case theCommand:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		told := watchHeap(ctx, os.Getenv(heapEnv))
		code := cli.Main(ctx, os.Args[1:], frame.Process())
		stop()
		<-told
		os.Exit(code)
	case theFill:
		if err := fill(); err != nil {
			fmt.Fprintln(os.Stderr, "the process that makes things ends:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(stacktest.Main(m))
}

// watchHeap notes the largest heap that there is until ctx ends, and writes it into a file then;
// none: it watches nothing.
func watchHeap(ctx context.Context, file string) (told chan struct{}) {
	told = make(chan struct{})
	go func() {
		defer close(told)
		var most uint64
		for file != "" {
			now := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
			metrics.Read(now)
			most = max(most, now[0].Value.Uint64())
			select {
			case <-time.After(20 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
			_ = os.WriteFile(file, strconv.AppendUint(nil, most, 10), 0o600)
			return
		}
	}()
	return told
}

// house is an installation, and a process that has things which wait there.
type house struct {
	t        *testing.T
	prefix   string
	env      []string
	temporal client.Client
	users    string // the file of the console's users
	fill     *process
	made     map[string]int // by kind
	asleep   int            // dead letters that begin a day later, the first
}

// newHouse opens an installation; without a prefix, a new one.
func newHouse(t *testing.T, prefix string) *house {
	t.Helper()
	s := stacktest.Shared(t)
	h := &house{t: t, prefix: cmp.Or(prefix, stacktest.Prefix(t)), temporal: stacktest.TemporalClient(t, s), users: filepath.Join(t.TempDir(), "users"), made: map[string]int{}}
	database := stacktest.Database(t, s)
	db, err := gorm.Open(postgres.Open(database), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	require.NoError(t, barrier.Migrate(t.Context(), db))
	pool, err := db.DB()
	require.NoError(t, err)
	require.NoError(t, pool.Close())
	h.env = append(os.Environ(), "HOLDFAST_PREFIX="+h.prefix, "AMQP_URL="+s.AMQPURL(), "DATABASE_URL="+database,
		"TEMPORAL_ADDRESS="+s.TemporalAddress(), "TEMPORAL_NAMESPACE="+s.Namespace())
	t.Cleanup(func() {
		names := []string{"half." + group, "dead", "dead.oversized", "replies." + group, "retry.10s", "retry.30s", "retry.1m", "retry.5m", "retry.15m", "retry.1h"}
		for i := range consumers {
			names = append(names, "q."+consumer(i))
		}
		for i := range names {
			names[i] = h.prefix + "." + names[i]
		}
		stacktest.DeleteQueues(t, s.AMQPURL(), names...)
	})
	require.NoError(t, os.WriteFile(h.users, []byte(h.userList()), 0o600))
	h.fill = h.spawn(theFill, "")
	require.Equal(t, "ready\n", h.fill.says())
	return h
}

// userList is the content of the file of users: ada, an admin.
func (h *house) userList() string {
	h.t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10) // the least that the console takes
	require.NoError(h.t, err)
	return fmt.Sprintf("ada:admin:%s\n", hash)
}

// make makes things of a kind until there are so many.
func (h *house) make(what string, n int) {
	h.t.Helper()
	_, err := fmt.Fprintln(h.fill.in, what, h.made[what], n, h.asleep)
	require.NoError(h.t, err, h.fill.log)
	require.Equal(h.t, "made\n", h.fill.says())
	h.made[what] = n
}

// process is a child of the test.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	log *strings.Builder

	over atomic.Bool
}

// spawn starts a child, until the test's end.
func (h *house) spawn(role, heap string, args ...string) *process {
	h.t.Helper()
	self, err := os.Executable()
	require.NoError(h.t, err)
	p := &process{t: h.t, cmd: exec.Command(self, args...), log: &strings.Builder{}}
	p.cmd.Env, p.cmd.Stderr = append(h.env, roleEnv+"="+role, heapEnv+"="+heap), p.log
	p.in, err = p.cmd.StdinPipe()
	require.NoError(h.t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(h.t, err)
	p.out = bufio.NewReader(out)
	require.NoError(h.t, p.cmd.Start())
	h.t.Cleanup(p.stop)
	return p
}

// says waits for a line of the child's.
func (p *process) says() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.stop()
		require.NoError(p.t, err, "the process has ended: %s", p.log)
	}
	return line
}

// stop ends the child in good order.
func (p *process) stop() {
	if p.over.Swap(true) {
		return
	}
	_ = p.in.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.cmd.Wait()
}

// peak is the most memory that the child has had at a time, in bytes; 0 where it is not known.
func (p *process) peak() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		return 0
	}
	kb, _ := strconv.ParseInt(string(found[1]), 10, 64)
	return kb << 10
}

// visitor is who is logged in to a console.
type visitor struct {
	t    *testing.T
	base string
	c    *http.Client
}

func login(t *testing.T, base string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	v := &visitor{t, base, &http.Client{Jar: jar, Timeout: patience}}
	form := url.Values{"name": {"ada"}, "password": {password}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/login", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", base)
	got := v.send(r)
	require.Equal(t, http.StatusOK, got.status, got.text)
	return v
}

// answer is what came of a request.
type answer struct {
	status, bytes int
	took          time.Duration
	at, text      string
}

func (v *visitor) get(path string) answer {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.base+path, nil)
	require.NoError(v.t, err)
	return v.send(r)
}

func (v *visitor) send(r *http.Request) answer {
	v.t.Helper()
	began := time.Now()
	got, err := v.c.Do(r)
	require.NoError(v.t, err)
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	require.NoError(v.t, err)
	return answer{status: got.StatusCode, bytes: len(text), took: time.Since(began), at: got.Request.URL.RequestURI(),
		text: html.UnescapeString(string(text))}
}

// page is one that is asked for.
type page struct{ name, path string }

// together is the page that has all dead letters of a consumer acted on together.
func (h *house) together(v *visitor) page {
	h.t.Helper()
	const from = "/dead/list?consumer="
	a := v.get(from + consumer(3))
	found := regexp.MustCompile(`href="(/do\?[^"]+)"`).FindStringSubmatch(a.text)
	require.NotNil(h.t, found, a.text)
	return page{"All of a consumer's, to act on", found[1]}
}

// pages are the pages that are asked for; links are found on them. Of what is done to many together, the
// page asks each of up to 500 letters how it stands: see [house.together].
func (h *house) pages(v *visitor) []page {
	h.t.Helper()
	first := func(path, pattern string) string {
		h.t.Helper()
		a := v.get(path)
		found := regexp.MustCompile(pattern).FindStringSubmatch(a.text)
		require.NotNil(h.t, found, "%s has no %s: %s", path, pattern, a.text)
		return found[1]
	}
	letter := first("/dead/list", `href="(/letter\?[^"]+)"`)
	saga := first("/sagas?state=parked", `href="(/saga\?[^"]+)"`)
	tx := first("/transactions?state=parked", `href="(/transaction\?[^"]+)"`)
	return []page{
		{"Home", "/"},
		{"Home, looked at for the page", "/?still=1"},
		{"Dead letters, by error", "/dead"},
		{"Dead letters, by consumer", "/dead?by=consumer"},
		{"Dead letters, by topic", "/dead?by=topic"},
		{"Dead letters of a consumer", "/dead?by=error&consumer=" + consumer(3)},
		{"a group of dead letters", first("/dead", `href="(/dead/list\?error-is[^"]+)"`)},
		{"a list of dead letters", "/dead/list?consumer=" + consumer(3)},
		{"a dead letter", letter},
		{"Sagas", "/sagas"},
		{"Sagas that are parked", "/sagas?state=parked"},
		{"a saga", saga},
		{"Transactions", "/transactions"},
		{"Transactions that are parked", "/transactions?state=parked"},
		{"a transaction", tx},
		{"Consumers", "/consumers"},
		{"a consumer", "/consumer?name=" + consumer(3)},
		{"Search, a dead letter's ID", "/search?q=" + letterID(1)},
		{"Search, a dead letter's key", "/search?q=" + letterKey(h.prefix, 2)},
		{"Search, a saga's key", "/search?q=" + sagaKey(h.prefix, 1)},
		{"Search, what nothing has", "/search?q=nobody"},
		{"Audit", "/audit"},
	}
}
