package doctest

import (
	"bufio"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/measure"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// metricRow is a metric of a page's table: its name, and its kind with its unit.
var metricRow = regexp.MustCompile("(?m)^\\| `(holdfast\\.[a-z._]+)` \\| ([a-z, ]+) \\|")

// TestMetricsPage: docs/monitoring.md has the metrics that the code makes, and no others; it,
// and the rules and dashboards in deploy, name these as Prometheus does.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	page := readFile(t, "docs/monitoring.md")
	var listed []string
	known := map[string]bool{"holdfast_doctor_status": true} // of the shell's line on the page
	for _, row := range metricRow.FindAllStringSubmatch(page, -1) {
		listed = append(listed, row[1])
		name := inPrometheus(row[1], row[2])
		known[name] = row[2] != "histogram, s"
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			known[name+part] = row[2] == "histogram, s"
		}
	}
	slices.Sort(listed)
	require.Equal(t, metricsOfTheCode(t), listed)

	used := map[string]bool{}
	deployed, err := filepath.Glob(filepath.Join(root, "deploy/*/*"))
	require.NoError(t, err)
	for _, file := range append(deployed, filepath.Join(root, "docs/monitoring.md")) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\bholdfast_[a-z_]+`).FindAllString(string(text), -1) {
			require.True(t, known[name], "%s: no metric is called %s in Prometheus", file, name)
			used[name] = true
		}
	}
	require.Greater(t, len(used), 30)
}

// inPrometheus is what an OpenTelemetry exporter for Prometheus calls a metric.
func inPrometheus(name, kind string) string {
	name = strings.ReplaceAll(name, ".", "_")
	if strings.HasSuffix(kind, ", s") {
		name += "_seconds"
	}
	if strings.HasPrefix(kind, "counter") {
		name += "_total"
	}
	return name
}

// metricsOfTheCode are the names in the files that make instruments.
func metricsOfTheCode(t *testing.T) []string {
	t.Helper()
	files, err := measure.Files(root)
	require.NoError(t, err)
	metric := regexp.MustCompile(`^holdfast\.[a-z._]+$`)
	var all []string
	for _, f := range files {
		if f.Test() || f.Aside() || !strings.Contains(f.Text, `"go.opentelemetry.io/otel/metric"`) {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Path, f.Text, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok {
				if text, err := strconv.Unquote(literal.Value); err == nil && metric.MatchString(text) {
					all = append(all, text)
				}
			}
			return true
		})
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestPrometheus builds and runs the program of docs/monitoring.md, a module of its own,
// and scrapes it until it shows metrics of Holdfast and of Temporal's SDK.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	s := stacktest.Shared(t)
	database := stacktest.Database(t, s)
	migrate(t, database)
	program := filepath.Join(t.TempDir(), "prometheus")
	module := filepath.Join(root, "examples/prometheus")
	out, err := goCommand(t, module, []string{"GOWORK=off"}, "build", "-o", program, ".")
	require.NoError(t, err, out)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(append(os.Environ(), s.Env()...), "DATABASE_URL="+database, "METRICS_ADDRESS=127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	address := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			t.Log(lines.Text()) // until the test ends, which waits for it
			if _, url, found := strings.Cut(lines.Text(), "metrics at "); found {
				address <- url
			}
		}
	}()
	defer func() {
		cancel()
		<-read
		_ = cmd.Wait() // it was killed
	}()
	select {
	case url := <-address:
		awaitMetrics(ctx, t, url, "holdfast_temporal_connected 1", `holdfast_halves_oldest_age_seconds{queue="1"} 0`,
			"temporal_num_pollers")
	case <-read:
		t.Error("the program ended before it listened")
	}
}

// awaitMetrics scrapes until each text is there.
func awaitMetrics(ctx context.Context, t *testing.T, url string, texts ...string) {
	t.Helper()
	missing := func(scraped string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(scraped, text) })
	}
	scraped, err := get(ctx, url)
	for shown := scraped; err != nil || missing(scraped); scraped, err = get(ctx, url) {
		if err == nil {
			shown = scraped
		}
		require.NoError(t, ctx.Err(), "%s last showed\n%s\nand then %v", url, shown, err)
		time.Sleep(100 * time.Millisecond) // between two scrapes
	}
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}
