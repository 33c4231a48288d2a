package doctest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/metrics"
	"github.com/holdfastmq/holdfast/worker"
)

// rule is an alert in deploy/prometheus.
type rule struct{ name, severity, summary, remedy, runbook string }

// rulesOf are the alerts of all files of rules, and the files.
func rulesOf(t *testing.T) (rules []rule, files []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy/prometheus/*.rules.yml"))
	require.NoError(t, err)
	require.Len(t, files, 4)
	field := func(text, name string) string {
		found := regexp.MustCompile(`(?m)^ +` + name + `: (.+)$`).FindStringSubmatch(text)
		if found == nil {
			return ""
		}
		return found[1]
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, one := range strings.Split(string(text), "- alert: ")[1:] {
			name, _, _ := strings.Cut(one, "\n")
			rules = append(rules, rule{name, field(one, "severity"), field(one, "summary"), field(one, "remedy"),
				field(one, "runbook_url")})
		}
	}
	return rules, files
}

// TestRules: each alert says how bad it is and what to do, its runbook page is there, the page
// of monitoring has it, and there is an incident that raises it.
func TestRules(t *testing.T) {
	t.Parallel()
	rules, _ := rulesOf(t)
	require.Greater(t, len(rules), 15)
	raised := map[string]bool{}
	for _, i := range incidents {
		for _, name := range i.fires {
			raised[name] = true
		}
	}
	page := readFile(t, "docs/monitoring.md")
	for _, r := range rules {
		require.Contains(t, []string{"page", "ticket"}, r.severity, r.name)
		require.NotEmpty(t, r.summary, r.name)
		require.NotEmpty(t, r.remedy, r.name)
		runbook, ours := strings.CutPrefix(r.runbook, "https://github.com/holdfastmq/holdfast/blob/main/")
		require.True(t, ours && strings.HasPrefix(runbook, "docs/runbook/"), "%s: %s", r.name, r.runbook)
		readFile(t, runbook)
		require.True(t, raised[r.name], "no incident raises %s", r.name)
		require.Contains(t, page, "`"+r.name+"`")
		delete(raised, r.name)
	}
	require.Empty(t, raised, "these are no alerts")
}

// healthy are the series of an installation in which nothing is wrong, in promtool's notation.
var healthy = map[string]string{
	`holdfast_transactions_total{job="orders",lane="express",answer="commit"}`:             `0+600x400`,
	`holdfast_transactions_duration_seconds_bucket{job="orders",lane="express",le="0.1"}`:  `0+600x400`,
	`holdfast_transactions_duration_seconds_bucket{job="orders",lane="express",le="10"}`:   `0+600x400`,
	`holdfast_transactions_duration_seconds_bucket{job="orders",lane="express",le="+Inf"}`: `0+600x400`,
	`holdfast_halves_oldest_age_seconds{job="orders",queue="1"}`:                           `3x400`,
	`holdfast_halves_undecided{job="orders",queue="1"}`:                                    `2x400`,
	`holdfast_breaker_state{job="shop",consumer="payments"}`:                               `0x400`,
	`holdfast_consumer_paused{job="shop",consumer="payments"}`:                             `0x400`,
	`holdfast_consumer_delay_seconds_bucket{job="shop",consumer="payments",le="1"}`:        `0+600x400`,
	`holdfast_consumer_delay_seconds_bucket{job="shop",consumer="payments",le="3600"}`:     `0+600x400`,
	`holdfast_consumer_delay_seconds_bucket{job="shop",consumer="payments",le="+Inf"}`:     `0+600x400`,
	`holdfast_consumer_busy{job="shop",consumer="payments"}`:                               `4x400`,
	`holdfast_consumer_concurrency{job="shop",consumer="payments"}`:                        `16x400`,
	`holdfast_pool_in_use{job="shop",instance="a",pool="payments"}`:                        `5x400`,
	`holdfast_pool_limit{job="shop",instance="a",pool="payments"}`:                         `20x400`,
	`holdfast_temporal_connected{job="orders"}`:                                            `1x400`,
	`holdfast_publish_refused_total{job="orders",why="connection-lost",consumer=""}`:       `0+1x400`,
	`holdfast_alerts_total{job="shop",kind="breaker-closed"}`:                              `0+1x400`,
	`holdfast_doctor_status`:                    `0x400`,
	`holdfast_doctor_findings{level="problem"}`: `0x400`,
	`holdfast_doctor_findings{level="warning"}`: `2x400`,
	`holdfast_doctor_unseen`:                    `0x400`,
	`holdfast_doctor_age_seconds`:               `40x400`,
	`holdfast_waiting{kind="saga"}`:             `0x400`,
}

// incidents are series that are other ones than when all is well ("gone": they are not
// there), and the alerts that fire then.
var incidents = []struct {
	name   string
	series map[string]string
	at     string
	fires  []string
}{
	{`nothing is wrong`, map[string]string{}, "50m", []string{}},
	{`a dead letter that is the first one of all`, map[string]string{`holdfast_alerts_total{job="shop",kind="dead-letter"}`: `_x15 1x44`}, "18m", []string{"HoldfastWaitsForOperator"}},
	{`which is old news half an hour later`, map[string]string{`holdfast_alerts_total{job="shop",kind="dead-letter"}`: `_x15 1x44`}, "50m", []string{}},
	{`one more that is parked`, map[string]string{`holdfast_alerts_total{job="shop",kind="parked"}`: `3x20 4x39`}, "25m", []string{"HoldfastWaitsForOperator"}},
	{`hand-overs fail`, map[string]string{`holdfast_halves_hand_over_failures_total{job="orders",lane="express"}`: `0x10 0+1x49`}, "20m", []string{"HoldfastHandOversFail"}},
	{`half messages grow old`, map[string]string{`holdfast_halves_oldest_age_seconds{job="orders",queue="1"}`: `0+60x60`}, "20m", []string{"HoldfastHandOversFail"}},
	{`sends are refused`, map[string]string{`holdfast_transactions_total{job="orders",lane="express",answer="refused"}`: `0+30x60`}, "20m", []string{"HoldfastSendsFail"}},
	{`one send in a thousand is refused`, map[string]string{`holdfast_transactions_total{job="orders",lane="express",answer="refused"}`: `0+0.6x60`}, "20m", []string{}},
	{`sends are slow`, map[string]string{`holdfast_transactions_duration_seconds_bucket{job="orders",lane="express",le="0.1"}`: `0+60x60`}, "30m", []string{"HoldfastSendsSlow"}},
	{`a message waits on the ladder`, map[string]string{`holdfast_consumer_long_waits_total{job="shop",consumer="payments",why="retry"}`: `0x10 1x49`}, "15m", []string{"HoldfastWaitsLong"}},
	{`a saga waits for a participant`, map[string]string{`holdfast_sagas_long_waits_total{job="orders",participant="stock.reserve"}`: `0x10 2x49`}, "15m", []string{"HoldfastWaitsLong"}},
	{`a transaction is not delivered`, map[string]string{`holdfast_transactions_long_waits_total{job="orders",topic="order.placed"}`: `0x10 2x49`}, "15m", []string{"HoldfastWaitsLong"}},
	{`a breaker stays open`, map[string]string{`holdfast_breaker_state{job="shop",consumer="payments"}`: `0x10 2x49`}, "20m", []string{"HoldfastBreakerOpen"}},
	{`a breaker that is open for two minutes`, map[string]string{`holdfast_breaker_state{job="shop",consumer="payments"}`: `0x10 2x2 0x46`}, "20m", []string{}},
	{`a consumer stays paused`, map[string]string{`holdfast_consumer_paused{job="shop",consumer="payments"}`: `0x10 1x99`}, "80m", []string{"HoldfastConsumerPaused"}},
	{`messages arrive late`, map[string]string{`holdfast_consumer_delay_seconds_bucket{job="shop",consumer="payments",le="1"}`: `0+60x60`}, "40m", []string{"HoldfastConsumerLate"}},
	{`all handlers are busy`, map[string]string{`holdfast_consumer_busy{job="shop",consumer="payments"}`: `16x60`}, "20m", []string{"HoldfastConsumerSaturated"}},
	{`a pool is empty`, map[string]string{`holdfast_pool_in_use{job="shop",instance="a",pool="payments"}`: `20x60`}, "20m", []string{"HoldfastPoolExhausted"}},
	{`the first record that is refused`, map[string]string{`holdfast_publish_refused_total{job="orders",why="limit",consumer=""}`: `_x15 1x44`}, "18m", []string{"HoldfastPublishRefused"}},
	{`a process without Temporal`, map[string]string{`holdfast_temporal_connected{job="orders"}`: `0x60`}, "20m", []string{"HoldfastWithoutTemporal"}},
	{`alerts are dropped`, map[string]string{`holdfast_alerts_dropped_total{job="shop",to="webhook",why="failed"}`: `_x15 1x44`}, "18m", []string{"HoldfastAlertsDropped"}},
	{`alerts are dropped at the end of a process`, map[string]string{`holdfast_alerts_dropped_total{job="shop",to="webhook",why="shutdown"}`: `_x15 1x44`}, "18m", []string{}},
	{`doctor finds a problem`, map[string]string{`holdfast_doctor_status`: `1x60`}, "20m", []string{"HoldfastDoctor"}},
	{`doctor is not there`, map[string]string{`holdfast_doctor_status`: "gone"}, "20m", []string{"HoldfastDoctorSilent"}},
	{`doctor has not run`, map[string]string{`node_textfile_mtime_seconds{file="/var/lib/doctor.prom"}`: `0x60`}, "40m", []string{"HoldfastDoctorSilent"}},
	{`the console finds a problem`, map[string]string{`holdfast_doctor_findings{level="problem"}`: `1x60`}, "20m", []string{"HoldfastDoctorFinds"}},
	{`the console finds a problem, and then cannot look`, map[string]string{`holdfast_doctor_findings{level="problem"}`: `1x10 _x49`, `holdfast_doctor_unseen`: `0x10 1x49`}, "25m", []string{"HoldfastDoctorFinds", "HoldfastDoctorUnseen"}},
	{`the console cannot look`, map[string]string{`holdfast_doctor_unseen`: `1x60`}, "20m", []string{"HoldfastDoctorUnseen"}},
	{`the console does not look`, map[string]string{`holdfast_doctor_age_seconds`: `0+60x60`}, "40m", []string{"HoldfastDoctorUnseen"}},
	{`the console is not there`, map[string]string{`holdfast_doctor_age_seconds`: "gone"}, "20m", []string{"HoldfastDoctorUnseen"}},
	{`a saga is parked for half a day`, map[string]string{`holdfast_waiting{kind="saga"}`: `1x720`}, "6h", []string{"HoldfastStillWaits"}},
	{`a saga is parked, and nobody could look for a while`, map[string]string{`holdfast_waiting{kind="saga"}`: `1x60 _x20 1x300`}, "4h10m", []string{"HoldfastStillWaits"}},
	{`nobody keeps a half queue`, map[string]string{`holdfast_halves_undecided{job="orders",queue="1"}`: "gone"}, "20m", []string{"HoldfastGroupGone"}},
	{`a consumer is gone`, map[string]string{`holdfast_breaker_state{job="shop",consumer="payments"}`: "gone"}, "20m", []string{"HoldfastConsumerGone"}},
}

// TestIncidents: what promtool makes of the rules in each incident.
func TestIncidents(t *testing.T) {
	t.Parallel()
	promtool := stacktest.PrometheusProgram(t, "promtool")
	_, files := rulesOf(t)
	out, err := exec.CommandContext(t.Context(), promtool, append([]string{"check", "rules"}, files...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	var b strings.Builder
	b.WriteString("rule_files:\n")
	for _, file := range files {
		path, err := filepath.Abs(file)
		require.NoError(t, err)
		fmt.Fprintf(&b, "  - %s\n", path)
	}
	b.WriteString("evaluation_interval: 1m\ntests:\n")
	for _, i := range incidents {
		all := maps.Clone(healthy)
		maps.Copy(all, i.series)
		fmt.Fprintf(&b, "  - name: %s\n    interval: 1m\n    input_series:\n", i.name)
		for _, series := range slices.Sorted(maps.Keys(all)) {
			if all[series] != "gone" {
				fmt.Fprintf(&b, "      - series: '%s'\n        values: '%s'\n", series, all[series])
			}
		}
		fmt.Fprintf(&b, "    promql_expr_test:\n      - expr: 'count by (alertname) (ALERTS{alertstate=\"firing\"})'\n"+
			"        eval_time: %s\n        exp_samples:\n", i.at)
		for _, name := range i.fires {
			fmt.Fprintf(&b, "          - labels: '{alertname=\"%s\"}'\n            value: 1\n", name)
		}
	}
	file := filepath.Join(t.TempDir(), "tests.yml")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	out, err = exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// dashboard is what the tests read of a file in deploy/grafana.
type dashboard struct {
	UID, Title string
	Panels     []struct {
		ID          int
		Type, Title string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Type string }
	}
}

func dashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy/grafana/*.json"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var d dashboard
		require.NoError(t, json.Unmarshal(text, &d), file)
		all = append(all, d)
	}
	return all
}

// TestDashboards: they can be imported side by side, their panels do not overlap, and each
// variable that a query uses is one of theirs.
func TestDashboards(t *testing.T) {
	t.Parallel()
	uids := map[string]bool{}
	for _, d := range dashboards(t) {
		require.NotEmpty(t, d.Title)
		require.False(t, uids[d.UID], d.UID)
		uids[d.UID] = true
		variables := []string{"__rate_interval"}
		for _, v := range d.Templating.List {
			variables = append(variables, v.Name)
		}
		require.Contains(t, variables, "datasource")
		taken, ids := map[[2]int]string{}, map[int]bool{}
		for _, p := range d.Panels {
			require.False(t, ids[p.ID], "%s: two panels %d", d.Title, p.ID)
			ids[p.ID] = true
			require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					require.Empty(t, taken[at], "%s: %s is on %s", d.Title, p.Title, taken[at])
					taken[at] = p.Title
				}
			}
			require.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
			for _, q := range p.Targets {
				require.NotEmpty(t, q.LegendFormat, p.Title)
				for _, used := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(q.Expr, -1) {
					require.Contains(t, variables, used[1], q.Expr)
				}
			}
		}
	}
}

// TestQueries: Prometheus can read the queries of the dashboards.
func TestQueries(t *testing.T) {
	t.Parallel()
	promtool := stacktest.PrometheusProgram(t, "promtool")
	var b strings.Builder
	b.WriteString("groups:\n  - name: queries\n    rules:\n")
	n := 0
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				expr := strings.ReplaceAll(q.Expr, "$__rate_interval", "5m")
				expr = regexp.MustCompile(`\$\w+`).ReplaceAllString(expr, "a")
				fmt.Fprintf(&b, "      - record: query:%d\n        expr: %q\n", n, expr)
				n++
			}
		}
	}
	require.Greater(t, n, 50)
	file := filepath.Join(t.TempDir(), "queries.yml")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestPrometheusRaisesAnAlert: of a message that a consumer gives up, on real parts.
func TestPrometheusRaisesAnAlert(t *testing.T) {
	t.Parallel()
	stacktest.PrometheusProgram(t, "prometheus")
	st := stacktest.Shared(t)
	shown, err := metrics.New()
	require.NoError(t, err)
	served := httptest.NewServer(shown)
	t.Cleanup(served.Close)
	_, files := rulesOf(t)
	address, _ := strings.CutPrefix(served.URL, "http://")
	url := stacktest.Prometheus(t, files, map[string]string{"orders": address})

	w, err := worker.New(worker.Options{Group: "orders", Temporal: stacktest.TemporalClient(t, st), Namespace: st.Namespace(),
		AMQPURL: st.AMQPURL(), DB: migrate(t, stacktest.Database(t, st)), Prefix: stacktest.Prefix(t), Meter: shown.MeterProvider()})
	require.NoError(t, err)
	w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"},
		HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return holdfast.Permanent(errors.New("no such card")) }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	firing := func() string {
		text, err := stacktest.Get(t.Context(), url+"/api/v1/query?query="+
			"ALERTS%7Balertname%3D%22HoldfastWaitsForOperator%22%2Calertstate%3D%22firing%22%7D")
		require.NoError(t, err)
		return text
	}
	scraped := func(want string) {
		require.Eventually(t, func() bool {
			text, err := stacktest.Get(t.Context(), url+"/api/v1/query?query="+want)
			return err == nil && strings.Contains(text, `"value"`)
		}, patience, 200*time.Millisecond, want)
	}
	scraped("holdfast_breaker_state")
	require.NotContains(t, firing(), "severity")
	_, err = w.Send(t.Context(), holdfast.Message{Topic: "order.placed", Key: "order-1"},
		func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.NoError(t, err)
	scraped("holdfast_dead_letters_total")
	scraped("holdfast_transactions_duration_seconds_bucket")
	require.Eventually(t, func() bool { return strings.Contains(firing(), `"severity":"page"`) }, patience, 200*time.Millisecond)
}
