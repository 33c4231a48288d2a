package load

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// itemsEnv says how many things wait.
const itemsEnv = "HOLDFAST_ITEMS"

// prefixEnv names the prefix of an earlier run on the same servers, whose things still wait
// there: to look at them again.
const prefixEnv = "HOLDFAST_ITEMS_PREFIX"

// kinds are what things there are.
var kinds = []string{"letters", "sagas", "transactions"}

// times is how often each page is asked for.
const times = 5

// TestPagesAmongManyThings prints how long each page takes while a great many things wait, and what
// memory the console needs. Most of the things are dead letters: a saga takes longer to come
// to be parked.
func TestPagesAmongManyThings(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv(itemsEnv))
	if n == 0 {
		t.Skip("NOT TESTED: the console among 100,000 things: `make console-load` does")
	}
	temporalOnPostgreSQL(t)
	h := newHouse(t, os.Getenv(prefixEnv))
	want := map[string]int{"letters": n - 2*(n/50), "sagas": n / 50, "transactions": n / 50}
	h.asleep = max(0, want["letters"]-awake)
	for _, what := range kinds {
		began := time.Now()
		h.made[what] = h.count(what)
		for h.made[what] < want[what] {
			h.make(what, min(want[what], h.made[what]+max(1, n/40)))
			t.Logf("%d %s, after %.0f s", h.made[what], what, time.Since(began).Seconds())
		}
	}
	for what, n := range want {
		h.wait(what, n)
	}
	t.Logf("all wait")

	heap := filepath.Join(t.TempDir(), "heap")
	p := h.spawn(theCommand, heap, "console", "--users", h.users, "--listen", "127.0.0.1:0")
	base := regexp.MustCompile(`http://[0-9.:]+`).FindString(p.says())
	require.NotEmpty(t, base)
	idle := p.peak()
	v := login(t, base)
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "| page | status | bytes | median, ms | worst, ms |\n|---|--:|--:|--:|--:|")
	row := func(name string, status, bytes int, took []time.Duration) {
		slices.Sort(took)
		line := fmt.Sprintf("| %s | %d | %d | %d | %d |", name, status, bytes, took[len(took)/2].Milliseconds(), took[len(took)-1].Milliseconds())
		t.Log(line)
		fmt.Fprintln(w, line)
	}
	for _, p := range append(h.pages(v), h.together(v)) {
		var took []time.Duration
		var a answer
		for range times {
			a = v.get(p.path)
			took = append(took, a.took)
			if strings.HasPrefix(p.path, "/?") || strings.HasPrefix(p.path, "/consumers") {
				time.Sleep(6 * time.Second) // what was seen is shown to all for 5
			}
		}
		row(p.name, a.status, a.bytes, took)
	}
	peak := p.peak()
	p.stop()
	for _, args := range [][]string{{"dead", "list"}, {"dead", "list", "--group-by", "error"}, {"saga", "list"}, {"tx", "list"}, {"doctor"}, {"waiting"}} {
		var took []time.Duration
		var bytes, code int
		for range 3 {
			began := time.Now()
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.CommandContext(t.Context(), self, args...)
			cmd.Env = append(h.env, roleEnv+"="+theCommand)
			text, _ := cmd.CombinedOutput()
			took = append(took, time.Since(began))
			bytes, code = len(text), cmd.ProcessState.ExitCode()
		}
		row("`holdfast "+strings.Join(args, " ")+"`", code, bytes, took)
	}
	require.NoError(t, w.Flush())
	most, err := os.ReadFile(heap)
	require.NoError(t, err)
	bytes, err := strconv.ParseInt(string(most), 10, 64)
	require.NoError(t, err)
	t.Logf("%d dead letters, %d sagas and %d transactions, all parked; RabbitMQ %s, PostgreSQL, Temporal %s\n%s\nthe console's memory: %d MB before the first page, %d MB at most; of its heap %d MB at most",
		want["letters"], want["sagas"], want["transactions"], "", h.temporalVersion(), strings.ReplaceAll(out.String(), "  ", " "), idle>>20, peak>>20, bytes>>20)
}

// temporalOnPostgreSQL starts the servers of the test with a Temporal as in production, unless the
// environment names one: the dev server's SQLite looks at every workflow for each list.
func temporalOnPostgreSQL(t *testing.T) {
	t.Helper()
	if os.Getenv("TEMPORAL_ADDRESS") != "" {
		return
	}
	s, err := stack.Start(t.Context(), stack.Options{Out: os.Stderr, TemporalServer: stack.TemporalPostgreSQL})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	for name, value := range map[string]string{"AMQP_URL": s.AMQPURL(), "DATABASE_URL": s.DatabaseURL(), "TEMPORAL_ADDRESS": s.TemporalAddress(),
		"TEMPORAL_NAMESPACE": s.Namespace()} {
		t.Setenv(name, value)
	}
}

// queryOf finds what waits, of a kind.
func (h *house) queryOf(what string) string {
	switch what {
	case "sagas":
		return sagas.Filter{Prefix: h.prefix, States: []string{core.StateParked}}.Query()
	case "transactions":
		return transactions.Filter{Prefix: h.prefix, States: []string{string(workflows.Parked)}}.Query()
	}
	return deadletters.LettersQuery(h.prefix) + ` AND ExecutionStatus = "Running" AND HoldfastState = "parked"`
}

// waits waits until so many of each kind are parked.
func (h *house) waits(n int) {
	h.t.Helper()
	for _, what := range kinds {
		h.wait(what, n)
	}
}

// wait waits until so many things of a kind, at least, are parked, as Temporal's lists know them.
func (h *house) wait(what string, n int) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(300 * time.Millisecond) {
		got := h.count(what)
		if got >= n {
			return
		}
		require.True(h.t, time.Now().Before(deadline), "%d of %d %s are parked", got, n, what)
	}
}

// count is how many things of a kind are parked, as Temporal's lists know them.
func (h *house) count(what string) int {
	h.t.Helper()
	got, err := h.temporal.CountWorkflow(h.t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: h.queryOf(what)})
	require.NoError(h.t, err)
	return int(got.GetCount())
}

func (h *house) temporalVersion() string {
	info, err := h.temporal.WorkflowService().GetSystemInfo(context.Background(), &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		return ""
	}
	return info.GetServerVersion()
}
