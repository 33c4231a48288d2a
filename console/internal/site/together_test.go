package site

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/batch"
	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// letters puts so many parked dead letters of consumer payments on a desk.
func (d *fakeDesk) letters(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.many = map[string]deadletters.Detail{}
	for i := range n {
		l := parkedLetter()
		status := *l.Status
		l.ID = fmt.Sprintf("m-%03d", i)
		l.WorkflowID, l.Status = "dead/payments/"+l.ID, &status
		d.many[l.WorkflowID] = l
	}
}

// turn has a dead letter stand as it says.
func (d *fakeDesk) turn(id string, how func(*deadletters.Detail)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.many[id]
	status := *l.Status
	l.Status = &status
	how(&l)
	d.many[id] = l
}

// handles has a redelivery end so, and its story tell who asked for it, and why.
func (d *fakeDesk) handles(state func(id string) workflows.State) {
	d.onLetter = func(row deadletters.Row, who desk.Who) (actions.Outcome, error) {
		became := state(row.WorkflowID)
		d.turn(row.WorkflowID, func(l *deadletters.Detail) {
			l.State, l.Status.State = string(became), became
			l.Status.Redeliveries++
			l.Status.Story = append(l.Status.Story, deadflow.Event{What: "redeliver", Operator: who.Operator, Text: who.Reason})
		})
		d.mu.Lock()
		defer d.mu.Unlock()
		d.done = append(d.done, row.WorkflowID+": "+who.Reason)
		if became == workflows.Parked {
			return actions.Outcome{Outcome: actions.FailedAgain, Detail: "no card"}, nil
		}
		return actions.Outcome{Outcome: actions.Handled}, nil
	}
}

func handled(string) workflows.State { return workflows.Handled }

var together1 = "kind=dead+letters&act=redeliver&id=" + url.QueryEscape("consumer=payments&error=no+card")

// runs looks at a run until its page has a text.
func (b *browser) runs(at, want string) (page string) {
	b.h.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		got := b.get(at)
		require.Equal(b.h.t, http.StatusOK, got.status, got.body)
		if page = got.body; strings.Contains(page, want) {
			return page
		}
	}
	b.h.t.Fatalf("%s has no %q: %s", at, want, page)
	return ""
}

// steers goes on with a run, or stops it.
func (b *browser) steers(page, do, rate string) answer {
	b.h.t.Helper()
	at := `id="run-stop"`
	for _, id := range []string{`id="run-go"`, `id="run-agree"`} {
		if do == "go" && strings.Contains(page, id) {
			at = id
		}
	}
	_, page, _ = strings.Cut(page, at)
	form := fields(b.h.t, page, "/dead/run")
	form.Set("do", do)
	if rate != "" {
		form.Set("rate", rate)
	}
	return b.post("/dead/run", form)
}

const asks = "waits for you"

func TestLettersAreActedOnTogether(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(30)
	h.desk.handles(handled)
	b := h.as("operator")
	page := b.get("/do?" + together1)
	require.Equal(t, http.StatusOK, page.status, page.body)
	for _, want := range []string{`<ul id="effects"><li>Each message goes back into the queue`, "<li>These are 30 dead letters: consumer payments, error no card.</li>", "The first 20 of 30", "dead%2fpayments%2fm-019", "<dd>consumer payments, error no card</dd>",
		"The oldest of them is the first, alone."} {
		require.Contains(t, page.body, want)
	}
	require.Equal(t, []string{"payments", "no card", "[parked]"}, []string{h.desk.manyFilter.Consumer, h.desk.manyFilter.ErrorText, fmt.Sprint(h.desk.manyFilter.States)})
	form := b.confirm(together1)
	require.Empty(t, h.desk.acts())
	got := b.post("/do", form)
	require.Equal(t, http.StatusSeeOther, got.status, got.body)
	again := b.post("/do", form)
	require.Equal(t, got.to, again.to, "sent again, it is the same run")
	first := b.runs(got.to, asks)
	require.Len(t, h.desk.acts(), 1)
	require.Contains(t, first, "Redeliver the other 29")
	require.Contains(t, first, ">dead/payments/m-000</a>: handled")
	require.NotContains(t, first, "http-equiv", "it does not go away while somebody chooses")

	steered := b.steers(first, "go", "100")
	require.Equal(t, http.StatusSeeOther, steered.status, steered.body)
	end := b.runs(got.to, "<span class=\"state\">over</span>")
	require.Contains(t, end, "30 of 30: 30 handled")
	require.Len(t, h.desk.acts(), 30)
	seen := map[string]bool{}
	for _, did := range h.desk.acts() {
		require.Regexp(t, `: run [0-9a-f]{16}: as agreed$`, did)
		require.False(t, seen[did], "each once")
		seen[did] = true
	}
	require.Equal(t, http.StatusConflict, b.steers(first, "go", "100").status, "it goes on once")
	require.Len(t, h.desk.acts(), 30)
	require.Contains(t, b.get("/dead").body, "redeliver: consumer payments, error no card")

	entries := h.entries()
	require.Equal(t, []string{"dead letters redeliver", audit.Asked, "30 dead letters", "as agreed"},
		[]string{entries[0].Action, entries[0].Outcome, entries[0].Detail, entries[0].Reason})
	require.Equal(t, []string{"dead redeliver", audit.Asked, "dead/payments/m-000"}, []string{entries[1].Action, entries[1].Outcome, entries[1].Target})
	require.Equal(t, "handled", entries[2].Outcome)
	require.Equal(t, []string{"dead letters redeliver: go on", "100 a second"}, []string{entries[3].Action, entries[3].Detail})
	counts := map[string]int{}
	for _, e := range entries {
		if e.Outcome == audit.Refused { // the second "go"
			require.Equal(t, "dead letters redeliver: go on", e.Action)
			continue
		}
		require.Equal(t, entries[0].Request, e.Request)
		counts[e.Action+" "+e.Outcome]++
	}
	require.Equal(t, 30, counts["dead redeliver asked"])
	require.Equal(t, 30, counts["dead redeliver handled"])
	require.Equal(t, 1, counts["dead letters redeliver over"])
}

// TestARunDoesNotGoOnAfterTheFirstFailed: and says so of all.
func TestARunDoesNotGoOnAfterTheFirstFailed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(3)
	h.desk.handles(func(string) workflows.State { return workflows.Parked })
	b := h.as("operator")
	got := b.post("/do", b.confirm(together1))
	page := b.runs(got.to, string(batch.Ended))
	require.Contains(t, page, "the first one did not succeed")
	require.Contains(t, page, "failed again")
	require.NotContains(t, page, `action="/dead/run"`)
	require.Len(t, h.desk.acts(), 1)
	require.Contains(t, page, "Go on with what is left")
}

// TestTheRestIsNotDoneWhereTheFirstIsParkedAgain: after the page that asks was shown.
func TestTheRestIsNotDoneWhereTheFirstIsParkedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(3)
	h.desk.handles(func(string) workflows.State { return workflows.Redelivering })
	b := h.as("operator")
	got := b.post("/do", b.confirm(together1))
	page := b.runs(got.to, asks)
	h.desk.mu.Lock()
	h.desk.err = errors.New("Temporal is away")
	h.desk.mu.Unlock()
	away := b.steers(page, "go", "100")
	require.Equal(t, http.StatusConflict, away.status)
	require.Contains(t, away.body, "The first one cannot be looked at: Temporal is away.")
	h.desk.mu.Lock()
	h.desk.err = nil
	h.desk.mu.Unlock()
	b.runs(got.to, asks)
	h.desk.turn("dead/payments/m-000", func(l *deadletters.Detail) { l.State, l.Status.State = "parked", workflows.Parked })
	again := b.steers(page, "go", "100")
	require.Equal(t, http.StatusConflict, again.status)
	require.Contains(t, again.body, "The first one is parked again.")
	require.Contains(t, b.runs(got.to, string(batch.Ended)), "the first one is parked again")
	require.Len(t, h.desk.acts(), 1)
	var refused []string
	for _, e := range h.entries() {
		if e.Outcome == audit.Refused {
			refused = append(refused, e.Action+": "+e.Detail)
		}
	}
	require.Equal(t, []string{"dead letters redeliver: go on: the first one cannot be looked at: Temporal is away",
		"dead letters redeliver: go on: the first one is parked again"}, refused)
}

// TestWhatChangedIsLeftOut: since it was shown, by whomever, and what came new.
func TestWhatChangedIsLeftOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(6)
	h.desk.handles(handled)
	b := h.as("operator")
	form := b.confirm(together1)
	h.desk.turn("dead/payments/m-000", func(l *deadletters.Detail) { l.State, l.Status.State = "discarded", workflows.Discarded })
	h.desk.turn("dead/payments/m-001", func(l *deadletters.Detail) { l.Status.Redeliveries++ }) // and failed again
	got := b.post("/do", form)
	first := b.runs(got.to, asks)
	require.Contains(t, first, "3 of 6: 1 handled, 2 left out")
	require.Contains(t, first, "it is not as it was shown: it is discarded")
	require.Contains(t, first, ">dead/payments/m-002</a>: handled", "the first one that is as it was shown")
	h.desk.turn("dead/payments/m-003", func(l *deadletters.Detail) { l.RunID = "another" })
	h.desk.turn("dead/payments/m-004", func(l *deadletters.Detail) { l.Status, l.Unknown = nil, "no process answered" })
	b.steers(first, "go", "100")
	page := b.runs(got.to, "<span class=\"state\">over</span>")
	require.Contains(t, page, "2 handled, 3 left out, 1 not sent")
	last := h.entries()
	require.Equal(t, "2 handled, 3 left out, 1 not sent", last[len(last)-1].Detail, "all that were shown are in the audit")
	require.Contains(t, page, "it is not as it was shown: it is parked")
	require.Contains(t, page, "no process answered")
	require.Len(t, h.desk.acts(), 2)

	h.desk.letters(3)
	h.desk.turn("dead/payments/m-002", func(l *deadletters.Detail) { l.Status, l.Unknown = nil, "no process answered" })
	require.Contains(t, b.get("/do?"+together1).body, "<li>1 more are left out: no process tells how they stand.</li>")
	form = b.confirm(together1)
	for _, id := range []string{"dead/payments/m-000", "dead/payments/m-001"} {
		h.desk.turn(id, func(l *deadletters.Detail) { l.Status.Redeliveries++ })
	}
	got = b.post("/do", form)
	require.Equal(t, http.StatusConflict, got.status)
	require.Contains(t, got.body, "none of them is as it was shown")
	require.Len(t, h.desk.acts(), 2)
}

// TestARunGoesOnInAnotherConsole: what it did before is left out, although it failed again and
// waits like the rest.
func TestARunGoesOnInAnotherConsole(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(4)
	h.desk.handles(handled)
	b := h.as("operator")
	got := b.post("/do", b.confirm(together1))
	b.runs(got.to, asks)
	h.site.End()
	require.Contains(t, b.get(got.to).body, "the console is about to end")
	require.Len(t, h.desk.acts(), 1)

	died := newHouse(t)
	died.desk.many = h.desk.many
	died.desk.handles(handled)
	died.desk.turn("dead/payments/m-000", func(l *deadletters.Detail) { l.State, l.Status.State = "parked", workflows.Parked })
	b = died.as("operator")
	page := b.get(got.to)
	require.Equal(t, http.StatusNotFound, page.status)
	to := regexp.MustCompile(`href="(/do\?[^"]+)"`).FindStringSubmatch(page.body)
	require.NotNil(t, to, page.body)
	query := strings.TrimPrefix(html.UnescapeString(to[1]), "/do?")
	require.Contains(t, b.get("/do?"+query).body, "1 more were done by this run before")
	next := b.post("/do", b.confirm(query))
	require.Equal(t, http.StatusSeeOther, next.status, next.body)
	first := b.runs(next.to, asks)
	b.steers(first, "go", "100")
	require.Contains(t, b.runs(next.to, "<span class=\"state\">over</span>"), "3 of 3: 3 handled")
	mark := regexp.MustCompile(`run [0-9a-f]{16}: `).FindString(h.desk.acts()[0])
	require.NotEmpty(t, mark)
	for _, did := range died.desk.acts() {
		require.NotContains(t, did, "m-000")
		require.Contains(t, did, mark, "it is the same run, for one that goes on after this, too")
	}
}

// TestWhatARunDidTakesNoPlace: the 500 are of what it did not come to.
func TestWhatARunDidTakesNoPlace(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(togetherMost + 3)
	const run = "0123456789abcdef"
	for i := range 2 {
		h.desk.turn(fmt.Sprintf("dead/payments/m-%03d", i), func(l *deadletters.Detail) {
			l.Status.Story = []deadflow.Event{{What: "redeliver", Operator: "ann", Text: markOf(run) + "as agreed"}}
		})
	}
	page := h.as("operator").get("/do?" + together1 + url.QueryEscape("&run="+run))
	require.Contains(t, page.body, "2 more were done by this run before")
	require.Contains(t, page.body, "The first 20 of 500")
	require.Contains(t, page.body, "At most 500 are done together, the oldest of those that were looked at")
	require.NotContains(t, page.body, "m-001<")
}

// TestWhoMaySteerARun: who began it lets it go on, every operator ends it.
func TestWhoMaySteerARun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(3)
	h.desk.handles(handled)
	b, eve := h.as("operator"), h.as("admin")
	got := b.post("/do", b.confirm(together1))
	page := b.runs(got.to, asks)
	others := eve.runs(got.to, asks)
	require.NotContains(t, others, `value="go"`)
	require.Equal(t, http.StatusForbidden, eve.steers(others, "go", "5").status)
	seen := h.as("viewer").get(got.to)
	require.Equal(t, http.StatusOK, seen.status)
	require.NotContains(t, seen.body, `action="/dead/run"`)
	require.Equal(t, http.StatusForbidden, b.post("/dead/run", url.Values{"id": {"x"}, "do": {"go"}}).status, "without the session's token")
	v := h.as("viewer")
	stop := url.Values{"token": fields(t, v.get("/").body, "/logout")["token"], "id": fields(t, page, "/dead/run")["id"], "do": {"stop"}}
	require.Equal(t, http.StatusForbidden, v.post("/dead/run", stop).status)
	b.runs(got.to, asks)
	for _, rate := range []string{"", "0", "1000000", "-1"} {
		require.Equal(t, http.StatusBadRequest, b.steers(page, "go", rate).status, rate)
	}
	require.Equal(t, http.StatusBadRequest, b.steers(page, "explode", "").status)
	h.audit.breaks(errAway)
	require.Equal(t, http.StatusConflict, b.steers(page, "go", "5").status)
	require.Equal(t, http.StatusSeeOther, eve.steers(others, "stop", "").status, "although the audit is away")
	h.audit.breaks(nil)
	require.Contains(t, b.runs(got.to, string(batch.Ended)), "admin (authenticated by file) ended it")
	require.Equal(t, http.StatusConflict, b.steers(page, "go", "5").status)
	require.Len(t, h.desk.acts(), 1)
	require.Equal(t, 1, strings.Count(h.log.String(), "an action was refused"), "go, and not stop: %s", h.log.String())
}

// TestWhatIsSentToARunThatIsOverDoesNotFillTheAudit: it takes as much as of all that is refused.
func TestWhatIsSentToARunThatIsOverDoesNotFillTheAudit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(3)
	h.desk.handles(handled)
	b := h.as("operator")
	got := b.post("/do", b.confirm(together1))
	page := b.runs(got.to, asks)
	require.Equal(t, http.StatusSeeOther, b.steers(page, "stop", "").status)
	b.runs(got.to, string(batch.Ended))
	before := len(h.entries())
	for range refusalsNoted {
		require.Equal(t, http.StatusConflict, b.steers(page, "stop", "").status)
		require.Equal(t, http.StatusConflict, b.steers(page, "go", "5").status)
	}
	entries := h.entries()
	require.Len(t, entries, before+refusalsNoted)
	counts := map[string]int{}
	for _, e := range entries {
		counts[e.Action+" "+e.Outcome]++
	}
	require.Equal(t, []int{1, refusalsNoted / 2, refusalsNoted / 2}, []int{counts["dead letters redeliver: stop done"],
		counts["dead letters redeliver: stop refused"], counts["dead letters redeliver: go on refused"]})
	require.Zero(t, counts["dead letters redeliver: stop asked"])
}

// TestWhatIsNotAuditedIsNotDoneToManyEither: neither the run, nor one of it.
func TestWhatIsNotAuditedIsNotDoneToManyEither(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(9)
	h.desk.handles(handled)
	b := h.as("operator")
	form := b.confirm(together1)
	h.audit.breaks(errAway)
	got := b.post("/do", form)
	require.Equal(t, http.StatusConflict, got.status)
	require.Contains(t, got.body, "the audit cannot be written")
	require.Empty(t, h.desk.acts())
	h.audit.breaks(nil)
	got = b.post("/do", b.confirm(together1))
	page := b.runs(got.to, asks)
	acted := h.desk.onLetter
	h.desk.onLetter = func(row deadletters.Row, who desk.Who) (actions.Outcome, error) {
		h.audit.breaks(errAway)
		return acted(row, who)
	}
	require.Equal(t, http.StatusSeeOther, b.steers(page, "go", "1").status)
	page = b.runs(got.to, string(batch.Ended))
	require.Contains(t, page, "5 in a row did not succeed")
	require.Len(t, h.desk.acts(), 2)
}

// TestARunKeepsOffWhatOthersActOn: two at once would not know what they did.
func TestARunKeepsOffWhatOthersActOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(1)
	h.desk.handles(handled)
	done, err := h.site.forms.Alone(t.Context(), kindLetter, "dead/payments/m-000")
	require.NoError(t, err)
	b := h.as("operator")
	got := b.post("/do", b.confirm(together1))
	require.Contains(t, b.runs(got.to, string(batch.First)), "0 of 1")
	h.desk.turn("dead/payments/m-000", func(l *deadletters.Detail) { l.State, l.Status.State = "compensated", workflows.Compensated })
	done()
	require.Contains(t, b.runs(got.to, "<span class=\"state\">over</span>"), "it is not as it was shown: it is compensated")
	require.Empty(t, h.desk.acts())
}

func TestWhatCannotBeDoneTogether(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(2)
	b := h.as("operator")
	do := func(act, of string) answer {
		return b.get("/do?" + url.Values{"kind": {kindLetters}, "act": {act}, "id": {of}}.Encode())
	}
	require.Equal(t, http.StatusBadRequest, do("redeliver", "error=x").status, "of all consumers")
	require.Equal(t, http.StatusBadRequest, do("restart", "consumer=payments").status)
	require.Equal(t, http.StatusBadRequest, do("redeliver", "consumer=payments&run=<b>").status)
	require.Equal(t, http.StatusBadRequest, do("redeliver", "%zz;").status)
	require.Equal(t, http.StatusBadRequest, do("redeliver", "consumer=payments&class=odd").status)
	require.Equal(t, http.StatusOK, do("redeliver", "consumer=payments&state=handled").status)
	require.Equal(t, []string{"parked"}, h.desk.manyFilter.States, "whatever else is asked for")
	require.Equal(t, http.StatusForbidden, h.as("viewer").get("/do?"+together1).status)
	h.desk.letters(0)
	require.Equal(t, http.StatusConflict, do("redeliver", "consumer=payments").status)
	h.desk.err = errors.New("Temporal is away")
	require.Equal(t, http.StatusBadGateway, do("redeliver", "consumer=payments").status)
	h.desk.err = nil
	for _, page := range []string{"/dead/run", "/dead/run?id=0123456789abcdef&act=redeliver&of=%3Cb%3E", "/dead/run?id=<script>&act=redeliver&of=consumer%3Dx"} {
		got := b.get(page)
		require.Equal(t, http.StatusNotFound, got.status)
		require.NotContains(t, got.body, "<script>")
		require.NotContains(t, got.body, "<b>")
		require.NotContains(t, got.body, "/do?")
	}
}

// TestWhatTogetherDoesIsSaidFirst: whatever a filter says, or a hostile error in it.
func TestWhatTogetherDoesIsSaidFirst(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.letters(2)
	b := h.as("operator")
	long := strings.Repeat("e", 70) + " goes back into the queue: " + strings.Repeat("x", 400)
	for act, effect := range map[string]string{
		"redeliver":  "Each message goes back into the queue of the consumer, once, and into no other. What fails again is parked again.",
		"compensate": "For each message, the Compensate of its producer group runs, once, and undoes what it was sent for; then its other consumers are told.",
		"discard":    "Each message is dropped for good. Nothing is published, and nothing is undone.",
	} {
		for _, value := range []string{"EOF", long} {
			of := url.Values{"consumer": {"payments"}, "error-is": {value}}.Encode()
			page := b.get("/do?" + url.Values{"kind": {kindLetters}, "act": {act}, "id": {of}}.Encode())
			require.Equal(t, http.StatusOK, page.status, page.body)
			require.Contains(t, page.body, `<ul id="effects"><li>`+effect+"</li>", "a sentence of its own, the first one, and whole")
			_, said, _ := strings.Cut(page.body, "<dt>Of</dt>")
			said, _, _ = strings.Cut(said, "<form")
			require.NotContains(t, said, "back into the queue:", "of others' words, the beginning")
		}
	}
}

// TestPagesLeadToWhatIsDoneTogether: only where one consumer is meant, and to who may act.
func TestPagesLeadToWhatIsDoneTogether(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.groups = []deadletters.Group{{Value: "no card 4", Key: "no card <n>", Count: 7, Example: letterID, Oldest: began, Newest: began},
		{Value: "", Count: 1, Example: letterID, Oldest: began, Newest: began}}
	b := h.as("operator")
	page := b.get("/dead?by=error&consumer=payments").body
	require.Equal(t, 6, strings.Count(page, "/do?"), "of all, and of the group that has a name")
	require.Contains(t, page, url.QueryEscape(url.Values{"consumer": {"payments"}, "error-is": {"no card <n>"}}.Encode()),
		"exactly of the group: \"EOF\" does not mean \"unexpected EOF\", too")
	require.Equal(t, http.StatusConflict, b.get("/do?"+url.Values{"kind": {kindLetters}, "act": {"discard"},
		"id": {url.Values{"consumer": {"payments"}, "error-is": {"no card <n>"}}.Encode()}}.Encode()).status)
	require.Equal(t, "no card <n>", h.desk.manyFilter.ErrorIs)
	require.Contains(t, b.get("/dead/list?consumer=payments&error-is=EOF").body, `name="error-is" value="EOF"`)
	require.Equal(t, 3, strings.Count(b.get("/dead/list?consumer=payments").body, "/do?"))
	require.Equal(t, 3, strings.Count(b.get("/dead/list?consumer=payments&state=parked").body, "/do?"))
	for _, none := range []string{"/dead", "/dead/list", "/dead/list?consumer=payments&state=waits", "/dead/list?error=x"} {
		require.NotContains(t, b.get(none).body, "/do?", none)
	}
	require.NotContains(t, h.as("viewer").get("/dead?by=error&consumer=payments").body, "/do?")
}

// TestPrintsTellWhatChanged: whatever an operator decides by.
func TestPrintsTellWhatChanged(t *testing.T) {
	t.Parallel()
	h := build(t)
	print := h.site.printOf(parkedLetter())
	require.Equal(t, print, h.site.printOf(parkedLetter()))
	for name, change := range map[string]func(*deadletters.Detail){
		"id": func(d *deadletters.Detail) { d.WorkflowID = "dead/payments/m-2" }, "run": func(d *deadletters.Detail) { d.RunID = "s" },
		"state": func(d *deadletters.Detail) { d.State = "waits" }, "redeliveries": func(d *deadletters.Detail) { d.Status.Redeliveries++ },
		"status": func(d *deadletters.Detail) { d.Status = nil }, "attempts": func(d *deadletters.Detail) { d.Attempts++ },
	} {
		d := parkedLetter()
		change(&d)
		require.NotEqual(t, print, h.site.printOf(d), name)
	}
	require.Equal(t, "/dead/list?consumer=payments&state=parked", pageOfTarget(kindLetters, "consumer=payments&run=0123456789abcdef"))
	require.Equal(t, "Redeliver together", titleOf(confirm.Order{Kind: kindLetters, Act: "redeliver"}))
}
