package site

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/metrics/metricstest"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

func TestHome(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.unset = []string{"PostgreSQL: DATABASE_URL is not set"}
	h.desk.groups = []deadletters.Group{{Value: "no card <n>", Key: "no card <n>", Count: 7, Example: letterID, Oldest: began, Newest: began}}
	h.desk.found.Findings = []doctor.Finding{
		{Part: "Temporal", Check: "version", Level: text.LevelOK, Detail: "fine, and not shown"},
		{Part: "Temporal", Check: "sagas", Level: text.LevelWarning, Detail: "1 saga waiting for an operator", Remedy: "holdfast saga list"},
		{Part: "RabbitMQ", Check: "connection", Level: text.LevelProblem, Detail: "connection refused"},
		{Part: "Waiting", Check: "participant stock.reserve", Level: text.LevelProblem, Detail: "2 sagas waiting, the oldest for 3m10s"},
	}
	got := h.as("viewer").get("/")
	require.Equal(t, http.StatusOK, got.status)
	for _, want := range []string{"2026-01-02 12:00:00", "1 checks found nothing", "PostgreSQL: DATABASE_URL is not set",
		"RabbitMQ, connection: connection refused", "/saga?id=saga%2forders%2fpiece%2fA-1007", "no card &lt;n&gt;",
		"the oldest for 3m10s", "docs/runbook/saga-parked.md", "docs/runbook/not-there.md", "/sagas?state=parked",
		"holdfast saga list", `http-equiv="refresh"`} {
		require.Contains(t, got.body, want)
	}
	require.NotContains(t, got.body, "fine, and not shown")
	require.NotContains(t, got.body, "needs you")
	require.Equal(t, 1, strings.Count(got.body, "connection refused"), "it is no finding, too")
	require.Less(t, strings.Index(got.body, "something that is not there"), strings.Index(got.body, "> Sagas<"), "problems come first")
}

func TestHomeWhenNothingNeedsAnybody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.saga = sagas.Detail{}
	b := h.as("viewer")
	require.Contains(t, b.get("/").body, "Nothing needs you.")
	h.pass(homeFresh)
	h.desk.unset = []string{"RabbitMQ: AMQP_URL is not set"}
	require.Contains(t, b.get("/").body, "Nothing of what was looked at needs you.")
}

func TestManyViewersCostOneLook(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("viewer")
	for range 5 {
		b.get("/")
	}
	require.Equal(t, 1, h.desk.looks)
	h.pass(homeFresh)
	b.get("/")
	require.Equal(t, 2, h.desk.looks)
}

func TestWhatIsAwayIsSaid(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.err = text.WithRemedy(errors.New("Temporal cannot be reached"), "see that it runs")
	b := h.as("operator")
	got := b.get("/")
	require.Equal(t, http.StatusOK, got.status)
	require.Contains(t, got.body, "sagas that are parked: Temporal cannot be reached")
	for _, page := range []string{"/sagas", "/saga?id=" + sagaID, "/dead", "/dead/list", "/letter?id=" + letterID, "/do?" + retrySaga,
		"/transaction?id=1"} {
		got := b.get(page)
		require.Equal(t, http.StatusBadGateway, got.status, page)
		require.Contains(t, got.body, "Temporal cannot be reached")
		require.Contains(t, got.body, "see that it runs")
	}
	got = b.get("/search?q=A-1007")
	require.Equal(t, http.StatusOK, got.status)
	require.Contains(t, got.body, "What could not be asked")
}

// TestAPanicIsWhatCouldNotBeLookedAt: it ends one look, and not the process.
func TestAPanicIsWhatCouldNotBeLookedAt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.opened = func() { panic("oops") }
	h.desk.looked = func(context.Context) { panic("oops") }
	b := h.as("viewer")
	got := b.get("/")
	require.Equal(t, http.StatusOK, got.status)
	require.Contains(t, got.body, "what doctor looks at: panic: oops")
	require.Contains(t, got.body, sagaID, "the rest is there")
	require.Contains(t, b.get("/search?q="+sagaID).body, "saga: panic: oops")
}

// TestHomeLooksAgainAfterItFailed: nobody has to touch it.
func TestHomeLooksAgainAfterItFailed(t *testing.T) {
	t.Parallel()
	h := build(t)
	finish := make(chan struct{})
	h.desk.opened = func() { <-finish }
	t.Cleanup(func() { close(finish) })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	got := httptest.NewRecorder()
	h.site.homePage(got, httptest.NewRequestWithContext(gone, http.MethodGet, "/", nil), login.Session{User: "ann"})
	require.Equal(t, http.StatusServiceUnavailable, got.Code)
	require.Contains(t, got.Body.String(), `http-equiv="refresh" content="30;url=/?auto=1"`)
}

func TestSagasAreListed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("viewer")
	require.Contains(t, b.get("/sagas?state=parked").body, sagaID)
	require.Contains(t, b.get("/sagas?state=completed").body, "No sagas.")
	require.Contains(t, b.get("/sagas?state=parked,compensation-failed").body, sagaID)
	require.Equal(t, http.StatusBadRequest, b.get("/sagas?state=happy").status)
	require.Equal(t, http.StatusNotFound, b.get("/saga?id=nobody").status)
	page := b.get("/saga?id=" + sagaID).body
	for _, want := range []string{"✓ create", "✗ pay", "no card", "failed", "Compensate", "Skip pay"} {
		require.Contains(t, page, want)
	}
}

func TestALetterIsShown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letter.Message.Headers = map[string]string{"source": "web"}
	page := h.as("viewer").get("/letter?id=" + letterID).body
	for _, want := range []string{"{\n  &#34;total&#34;: 12,\n", "<td>source</td><td>web</td>", "Redeliver", "Discard",
		"no card", "payments gave it up", "Body, indented", "goes back into the queue holdfast.q.payments"} {
		require.Contains(t, page, want)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000)
	for _, c := range []struct {
		m    transactions.MessageDetail
		want body
	}{
		{transactions.MessageDetail{Text: `{"a":"\"[["}`}, body{Text: "{\n  \"a\": \"\\\"[[\"\n}", Pretty: true}},
		{transactions.MessageDetail{Text: `plain`}, body{Text: "plain"}},
		{transactions.MessageDetail{Text: `{"a":`, Cut: 9}, body{Text: `{"a":`, Cut: 9}},
		{transactions.MessageDetail{Base64: []byte{0, 255}}, body{Text: "00 ff ", Binary: true}},
		{transactions.MessageDetail{Text: deep}, body{Text: deep}},
	} {
		require.Equal(t, c.want, bodyOf(c.m))
	}
	require.Equal(t, 88, bodyOf(transactions.MessageDetail{Base64: make([]byte, 600)}).Cut)
}

func TestGroupsLeadToTheirLetters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.groups = []deadletters.Group{{Value: `a "b" & c`, Key: `a "b" & c`, Count: 2, Example: letterID}}
	b := h.as("viewer")
	require.Contains(t, b.get("/dead?consumer=payments").body, "/dead/list?consumer=payments&amp;error-is=a&#43;%22b%22&#43;%26&#43;c")
	require.Contains(t, b.get("/dead?by=consumer").body, "/dead?by=error&amp;consumer=")
	// The rest of the filter goes along.
	page := b.get("/dead?by=topic&state=parked&consumer=payments&key=A-1&class=panic&error=no+card").body
	rest := "class=panic&amp;consumer=payments&amp;error=no&#43;card&amp;key=A-1&amp;state=parked"
	require.Contains(t, page, "/dead/list?"+rest+"&amp;topic=a&#43;%22b%22&#43;%26&#43;c")
	require.Contains(t, page, "/dead?by=class&amp;"+rest)
	require.Contains(t, page, "of state parked, consumer payments, key A-1, error no card, class panic")
	require.Contains(t, b.get("/dead/list?class=panic").body, `name="class" value="panic"`)
	require.Equal(t, http.StatusBadRequest, b.get("/dead?by=nothing").status)
	require.Equal(t, http.StatusBadRequest, b.get("/dead?class=nothing").status)
	require.Contains(t, b.get("/dead/list?state=parked").body, letterID[len("dead/payments/"):])
}

// TestMoreLettersThanAreLookedAt: pages say how many there are, and that only so many were counted
// by error; the number of all is in the metrics.
func TestMoreLettersThanAreLookedAt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.groups = []deadletters.Group{{Value: "no card", Count: 7, Example: letterID, Oldest: began, Newest: began}, {Value: "no money", Count: 2}}
	h.desk.all = 96000
	m := metricstest.New(t)
	_, err := h.site.Measure(m.Provider)
	require.NoError(t, err)
	b := h.as("viewer")
	require.Contains(t, b.get("/").body, "There are 96000: only the latest 9 were counted by error.")
	require.Contains(t, b.get("/dead").body, "There are 96000: only the latest 9 were counted.")
	require.Contains(t, b.get("/dead").body, "<td>–</td><td>–</td><td></td>", "of which only the number is known")
	require.EqualValues(t, 96000, m.Values()["holdfast.waiting kind=dead-letter"])
}

func TestSearch(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("viewer")
	for query, want := range map[string]string{sagaID: "/saga?id=" + url.QueryEscape(sagaID), "A-1007": "/saga?id=" + url.QueryEscape(sagaID),
		letterID: "/letter?id=" + url.QueryEscape(letterID), " A-1 ": "/letter?id=" + url.QueryEscape(letterID)} {
		got := b.get("/search?q=" + url.QueryEscape(query))
		require.Equal(t, http.StatusSeeOther, got.status, query)
		require.Equal(t, want, got.to)
	}
	got := b.get("/search?q=nobody")
	require.Equal(t, http.StatusOK, got.status)
	require.Contains(t, got.body, "No saga, dead letter or transaction has this ID or key.")
	require.Equal(t, http.StatusBadRequest, b.get("/search?q="+strings.Repeat("x", maxSearch+1)).status)
	h.desk.err = server.Ambiguous("A-1", "workflows", []string{sagaID, "saga/orders/other/A-1"})
	got = b.get("/search?q=A-1")
	require.Contains(t, got.body, url.QueryEscape("saga/orders/other/A-1"))
}

// TestHostileTextsAreInert: whatever others wrote is text on every page, and moves nothing.
func TestHostileTextsAreInert(t *testing.T) {
	t.Parallel()
	evil := `"><script>alert(1)</script><img src=x onerror=alert(2)>` + "\x1b[31m\x00\x07\u202e\u2066\u2028" + `' onmouseover='x`
	long := evil + strings.Repeat("A", 1<<20)
	h := newHouse(t)
	h.desk.change(func(d *sagas.Detail) {
		d.Reason, d.Key, d.Group, d.Name, d.Step, d.Unknown, d.Parent = long, evil, evil, evil, evil, long, evil
		d.Next = []string{long}
		d.Status.Story = []sagaflow.Event{{What: "failed", Step: evil, Operator: evil, Text: long}}
		d.Status.Core.Steps["pay"].Error = long
	})
	l := &h.desk.letter
	l.Reason, l.Key, l.Topic, l.Queue, l.Status.Reason, l.Kept = long, evil, evil, evil, long, evil
	l.Message.Text, l.Message.Headers = evil, map[string]string{evil: long}
	h.desk.groups = []deadletters.Group{{Value: long, Key: long[:1000], Count: 1, Example: evil}}
	h.desk.parked = []transactions.Row{{Tx: evil, Group: evil, Reason: long, WorkflowID: evil}}
	h.desk.found.Findings = []doctor.Finding{{Part: "Waiting", Check: evil, Level: text.LevelProblem, Detail: long, Remedy: long},
		{Part: "RabbitMQ", Check: "connection", Level: text.LevelProblem, Detail: long}}
	b := h.as("admin")
	form := b.confirm(retrySaga)
	form.Set("reason", evil)
	h.desk.change(func(d *sagas.Detail) { d.Status.Core.Steps["pay"].Error = "x" + long })
	answers := map[string]answer{"a stale form": b.post("/do", form)}
	for _, page := range []string{"/", "/sagas", "/saga?id=" + sagaID, "/dead", "/dead/list", "/letter?id=" + letterID,
		"/do?" + retrySaga, "/search?q=" + url.QueryEscape(evil), "/sagas?name=" + url.QueryEscape(evil), "/audit",
		"/saga?id=" + url.QueryEscape(evil), "/transaction?id=" + url.QueryEscape(evil), "/dead/list?error=" + url.QueryEscape(evil)} {
		answers[page] = b.get(page)
	}
	for page, got := range answers {
		got.body = ownScript.ReplaceAllString(got.body, "")
		require.NotContains(t, got.body, "<script", page)
		require.NotContains(t, got.body, "<img", page)
		require.NotContains(t, got.body, "' onmouseover='x", page)
		require.Less(t, len(got.body), 200<<10, page)
		for _, r := range got.body {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' {
				t.Fatalf("%s has the character %U", page, r)
			}
		}
	}
}

func TestAuditPage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	operator := h.as("operator")
	require.Equal(t, http.StatusSeeOther, operator.post("/do", operator.confirm(retrySaga)).status)
	page := h.as("admin").get("/audit").body
	for _, want := range []string{"No database is set", "login", "saga retry", sagaID, "as agreed", "asked", "retried"} {
		require.Contains(t, page, want)
	}
}

func TestEarlierEntriesOfTheAudit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("admin")
	for i := range entriesShown + 50 {
		require.NoError(t, h.audit.Add(t.Context(), audit.Entry{Who: "ann", Action: "saga retry", Detail: "number " + strconv.Itoa(i) + "."}))
	}
	page := b.get("/audit").body
	require.Contains(t, page, "number 249.")
	require.Contains(t, page, "number 50.")
	require.NotContains(t, page, "number 49.")
	next := regexp.MustCompile(`"(/audit\?before=\d+)"`).FindStringSubmatch(page)
	require.NotNil(t, next, page)
	page = b.get(next[1]).body
	require.Contains(t, page, "number 49.")
	require.Contains(t, page, "number 0.")
	require.NotContains(t, page, "number 50.")
	require.NotContains(t, page, "Earlier ones")
	require.Equal(t, http.StatusBadRequest, b.get("/audit?before=x").status)
}

func TestAgesAreByTheClock(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.pass(5 * time.Minute)
	require.Contains(t, h.as("viewer").get("/").body, "<td>5m00s</td>")
}

// TestMeasure: the metrics are what the first page shows, of the last look, and reading them
// waits for none.
func TestMeasure(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.unset = []string{"PostgreSQL: DATABASE_URL is not set"}
	h.desk.groups = []deadletters.Group{{Value: "no card", Count: 7}, {Value: "no money", Count: 2}}
	h.desk.found.Findings = []doctor.Finding{
		{Part: "Temporal", Check: "version", Level: text.LevelOK},
		{Part: "Temporal", Check: "sagas", Level: text.LevelWarning},
		{Part: "RabbitMQ", Check: "connection", Level: text.LevelProblem, Detail: "connection refused"}, // it is unseen
		{Part: "Waiting", Check: "participant stock.reserve", Level: text.LevelProblem},
	}
	m := metricstest.New(t)
	measured, err := h.site.Measure(m.Provider)
	require.NoError(t, err)
	require.Empty(t, m.Values(), "nobody has looked yet")
	h.as("viewer").get("/") // and waits for the look
	require.Equal(t, map[string]int64{
		"holdfast.doctor.findings level=warning": 1,
		"holdfast.doctor.findings level=problem": 1,
		"holdfast.doctor.unseen ":                2,
		"holdfast.doctor.age ":                   0,
		"holdfast.waiting kind=dead-letter":      9,
		"holdfast.waiting kind=saga":             1,
		"holdfast.waiting kind=transaction":      0,
	}, m.Values())
	require.NoError(t, measured.Unregister())
	require.Empty(t, m.Values())
}

// TestWhatWasNotLookedAtIsNoNumber: neither while Temporal is away, nor when the look was not
// over in time; else an alert would take it that all is well again.
func TestWhatWasNotLookedAtIsNoNumber(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.saga = sagas.Detail{}
	m := metricstest.New(t)
	_, err := h.site.Measure(m.Provider)
	require.NoError(t, err)
	look := func() map[string]int64 {
		h.pass(homeFresh)
		h.as("viewer").get("/")
		values := m.Values()
		delete(values, "holdfast.doctor.age ")
		return values
	}
	all := map[string]int64{"holdfast.doctor.findings level=warning": 0, "holdfast.doctor.findings level=problem": 0, "holdfast.doctor.unseen ": 0,
		"holdfast.waiting kind=dead-letter": 0, "holdfast.waiting kind=saga": 0, "holdfast.waiting kind=transaction": 0}
	require.Equal(t, all, look())
	h.desk.err = errors.New("Temporal is away")
	h.desk.found.Findings = []doctor.Finding{{Part: "RabbitMQ", Check: "queues", Level: text.LevelProblem},
		{Part: "Temporal", Check: "connection", Level: text.LevelProblem, Detail: "connection refused"}}
	require.Equal(t, map[string]int64{"holdfast.doctor.findings level=problem": 1, "holdfast.doctor.unseen ": 4}, look(), "at least one")
	h.desk.err, h.desk.found.Findings = nil, []doctor.Finding{{Part: "Temporal", Check: "sagas", Level: text.LevelWarning, Detail: "unknown: timeout"}}
	h.desk.rest = "Not all were looked at."
	require.Equal(t, map[string]int64{"holdfast.doctor.unseen ": 1, "holdfast.waiting kind=dead-letter": 0}, look())
	h.desk.rest, h.desk.found.Findings = "", nil
	require.Equal(t, all, look())
}

// TestListsSayWhatWasNotLookedAt: where nothing was found, too.
func TestListsSayWhatWasNotLookedAt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.rest = "Not all were looked at, but 5000 <b>workflows."
	b := h.as("viewer")
	for _, page := range []string{"/sagas", "/sagas?state=completed", "/dead/list", "/transactions"} {
		got := b.get(page).body
		require.Contains(t, got, "Not all were looked at, but 5000 &lt;b&gt;workflows.", page)
	}
	require.Contains(t, b.get("/sagas?state=completed").body, "No sagas of those that were looked at.")
	h.desk.rest = ""
	require.Contains(t, b.get("/sagas?state=completed").body, "No sagas.")
}
