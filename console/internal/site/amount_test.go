package site

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/batch"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// withAmount is a console that wants a second person for what is over 1000, or cannot be read.
func withAmount(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	o := h.site.Options
	o.ApproveWhen = func(i Item) (bool, string) {
		var has struct{ Amount int }
		switch {
		case i.Act == "panics":
			panic("no")
		case i.Unreadable != "":
			return true, i.Unreadable
		case json.Unmarshal(i.Data, &has) != nil || has.Amount > 1000:
			return true, fmt.Sprintf("%s %s has %d", i.Kind, i.ID, has.Amount)
		}
		return false, ""
	}
	h.site = New(o)
	h.web.Config.Handler = h.site
	h.amount(5000)
	return h
}

// amount has the saga, and the dead letter, an amount.
func (h *house) amount(n int) {
	h.desk.change(func(d *sagas.Detail) { d.Status.Core.Data = fmt.Appendf(nil, `{"amount":%d}`, n) })
	h.desk.mu.Lock()
	defer h.desk.mu.Unlock()
	h.desk.bodies = map[string]string{letterID: fmt.Sprintf(`{"amount":%d}`, n)}
}

const agreed = ": I agree</button>"

// TestASecondPersonAgreesToAnAmount before anything is done, and not who asked for it.
func TestASecondPersonAgreesToAnAmount(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ query, did, action string }{
		"a saga":        {retrySaga, "retry  " + sagaID, "saga retry"},
		"a dead letter": {"kind=dead&act=discard&id=" + letterID, "discard " + letterID, "dead discard"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := withAmount(t)
			b, eve := h.as("operator"), h.as("admin")
			page := b.get("/do?" + c.query)
			require.Contains(t, page.body, "A second person is needed: ")
			require.Contains(t, page.body, "has 5000", "and why")
			got := b.post("/do", b.confirm(c.query))
			require.Equal(t, http.StatusSeeOther, got.status, got.body)
			own := b.runs(got.to, asks)
			require.NotContains(t, own, agreed)
			require.Contains(t, own, "another operator than operator (authenticated by file)")
			require.Equal(t, http.StatusForbidden, b.steers(own, "go", "1").status, "he agrees with himself")
			again := h.as("operator")
			require.Equal(t, http.StatusForbidden, again.steers(again.runs(got.to, asks), "go", "1").status)
			require.NotContains(t, h.as("viewer").get(got.to).body, agreed)
			require.Empty(t, h.desk.acts())

			home := eve.get("/")
			require.Contains(t, home.body, "What waits for a second person")
			require.Contains(t, html.UnescapeString(home.body), `"`+got.to+`"`)
			hers := eve.runs(got.to, asks)
			for _, want := range []string{agreed, "has 5000", "<dt>Why</dt><dd>as agreed"} {
				require.Contains(t, hers, want)
			}
			require.Equal(t, http.StatusSeeOther, eve.steers(hers, "go", "1").status)
			eve.runs(got.to, string(batch.Over))
			require.Equal(t, []string{c.did + " by operator (authenticated by file): as agreed (approved by admin (authenticated by file))"},
				h.desk.acts())
			var said []string
			for _, e := range h.entries() {
				said = append(said, strings.TrimSuffix(e.Who, " (authenticated by file)")+": "+e.Action+": "+e.Outcome)
			}
			require.Equal(t, []string{"operator: " + c.action + ": asked", "operator: " + c.action + ": go on: refused",
				"operator: " + c.action + ": go on: refused", "admin: " + c.action + ": go on: asked", "operator: " + c.action + ": asked"}, said[:5])
			require.Len(t, said, 6)
			require.NotContains(t, eve.get("/").body, "What waits for a second person")
		})
	}
}

// TestUnderAnAmount nobody else is needed.
func TestUnderAnAmount(t *testing.T) {
	t.Parallel()
	h := withAmount(t)
	h.amount(1000)
	b := h.as("operator")
	require.NotContains(t, b.get("/do?"+retrySaga).body, "second person")
	require.Contains(t, b.post("/do", b.confirm(retrySaga)).to, "/done?")
	require.Contains(t, b.post("/do", b.confirm("kind=dead&act=discard&id="+letterID)).to, "/done?")
	require.Len(t, h.desk.acts(), 2)
}

// TestTheAmountWhenItIsSent counts, not the one when the form was shown.
func TestTheAmountWhenItIsSent(t *testing.T) {
	t.Parallel()
	h := withAmount(t)
	h.amount(5)
	b := h.as("operator")
	form := b.confirm(retrySaga)
	h.amount(5000)
	got := b.post("/do", form)
	require.Contains(t, got.to, "/dead/run?")
	b.runs(got.to, asks)
	require.Empty(t, h.desk.acts())
}

// TestWhatIsAgreedTo is as it was shown: else nothing is done.
func TestWhatIsAgreedTo(t *testing.T) {
	t.Parallel()
	h := withAmount(t)
	b, eve := h.as("operator"), h.as("admin")
	got := b.post("/do", b.confirm(retrySaga))
	page := eve.runs(got.to, asks)
	h.desk.change(func(d *sagas.Detail) { d.State = "compensating" })
	require.Equal(t, http.StatusSeeOther, eve.steers(page, "go", "1").status)
	require.Contains(t, eve.runs(got.to, string(batch.Over)), "stale: it is not as it was shown")
	require.Empty(t, h.desk.acts())

	got = b.post("/do", b.confirm("kind=dead&act=discard&id="+letterID))
	require.Equal(t, http.StatusSeeOther, eve.steers(eve.runs(got.to, asks), "stop", "").status)
	require.Contains(t, b.runs(got.to, string(batch.Ended)), "Ask for it again")
	require.Empty(t, h.desk.acts())
	last := h.entries()
	require.Equal(t, "not sent", last[len(last)-1].Outcome)
}

// TestWhatCannotBeRead needs a second person: an encrypted body, a state that is not known, and
// where the rule itself fails.
func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	h := withAmount(t)
	h.desk.bodies = nil
	h.desk.change(func(d *sagas.Detail) { d.Encrypted = "encrypted: no key" })
	b := h.as("operator")
	for _, query := range []string{retrySaga, "kind=dead&act=discard&id=" + letterID} {
		require.Contains(t, b.get("/do?"+query).body, "A second person is needed: ", query)
	}
	require.NotEmpty(t, h.site.whySecond(Item{Act: "panics"}))
	for _, how := range []func(*sagas.Detail){func(d *sagas.Detail) { d.Encrypted = ""; d.Status.Core.Data = nil },
		func(d *sagas.Detail) { d.Status = nil }} {
		h.desk.change(how)
		require.Contains(t, h.site.sagaSecond(t.Context(), h.desk.saga, "retry"), "its state ")
	}
}

// TestOneOfManyIsEnough: a run waits before its first one.
func TestOneOfManyIsEnough(t *testing.T) {
	t.Parallel()
	h := withAmount(t)
	h.desk.letters(3)
	h.desk.handles(handled)
	h.desk.bodies = map[string]string{}
	for i := range 3 {
		h.desk.bodies[fmt.Sprintf("dead/payments/m-%03d", i)] = `{"amount":5}`
	}
	b, eve := h.as("operator"), h.as("admin")
	require.NotContains(t, b.get("/do?"+together1).body, "second person")
	h.desk.bodies["dead/payments/m-001"] = `{"amount":5000}`
	require.Contains(t, b.get("/do?"+together1).body, "1 dead letter for which one is, such as m-001: ")
	got := b.post("/do", b.confirm(together1))
	page := b.runs(got.to, asks)
	require.NotContains(t, page, agreed)
	require.Equal(t, http.StatusForbidden, b.steers(page, "go", "100").status)
	require.Empty(t, h.desk.acts(), "not even the first one")
	page = eve.runs(got.to, asks)
	require.Contains(t, page, "the first of 3"+agreed)
	require.Equal(t, http.StatusSeeOther, eve.steers(page, "go", "").status)
	next := eve.runs(got.to, "Redeliver the other 2")
	require.Len(t, h.desk.acts(), 1, "the first one alone, as it says")
	require.Equal(t, http.StatusConflict, eve.steers(page, "go", "").status, "sent twice, it agrees to the first one only")
	require.Equal(t, http.StatusForbidden, b.steers(next, "go", "100").status)
	require.Equal(t, http.StatusSeeOther, eve.steers(next, "go", "100").status)
	eve.runs(got.to, string(batch.Over)+"</span>")
	require.Len(t, h.desk.acts(), 3)
	for _, act := range h.desk.acts() {
		require.Contains(t, act, "(approved by admin (authenticated by file))")
	}

	h.desk.letters(3)
	h.desk.handles(func(string) workflows.State { return workflows.Parked })
	got = b.post("/do", b.confirm(together1))
	require.Equal(t, http.StatusSeeOther, eve.steers(eve.runs(got.to, asks), "go", "").status)
	require.Contains(t, eve.runs(got.to, string(batch.Ended)), "the first one did not succeed")
	require.Len(t, h.desk.acts(), 4, "the others are left alone")
}

// TestATokenIsNoWayRoundAnAmount: neither for what is there, nor for what is sent instead.
func TestATokenIsNoWayRoundAnAmount(t *testing.T) {
	t.Parallel()
	h := withAmount(t)
	token := h.as("operator").token("my machine")
	discard := vouch.Order{Kind: vouch.Letter, ID: letterID, Run: "r", Act: "redeliver", Letter: &deadflow.Request{Reason: "x"}}
	for _, o := range []vouch.Order{retryOrder(), discard} {
		status, said := h.ask(http.MethodPost, vouch.ActPath, token, o, nil)
		require.Equal(t, http.StatusForbidden, status, said)
		require.Contains(t, said, "a second person is needed: ")
	}
	h.amount(5)
	edited := discard
	edited.Letter = &deadflow.Request{Reason: "x", Text: `{"amount":5000}`}
	status, _ := h.ask(http.MethodPost, vouch.ActPath, token, edited, nil)
	require.Equal(t, http.StatusForbidden, status)
	edited.Letter = &deadflow.Request{Reason: "x", Base64: []byte(`{"amount":5000}`)}
	status, _ = h.ask(http.MethodPost, vouch.ActPath, token, edited, nil)
	require.Equal(t, http.StatusForbidden, status)
	valued := retryOrder()
	with := *valued.Saga
	with.Value = []byte(`{"amount":1}`)
	valued.Saga = &with
	status, said := h.ask(http.MethodPost, vouch.ActPath, token, valued, nil)
	require.Equal(t, http.StatusForbidden, status, "what an answer says counts as well")
	require.Contains(t, said, "its value")
	require.Empty(t, h.desk.acts())
	refused := 0
	for _, e := range h.entries() {
		if e.Outcome == audit.Refused && strings.Contains(e.Detail, "a second person is needed") {
			refused++
		}
	}
	require.Equal(t, 5, refused)
	for _, o := range []vouch.Order{retryOrder(), discard} {
		status, said := h.ask(http.MethodPost, vouch.ActPath, token, o, nil)
		require.Equal(t, http.StatusOK, status, said)
	}
	unseen := retryOrder()
	unseen.Run = "another"
	status, _ = h.ask(http.MethodPost, vouch.ActPath, token, unseen, nil)
	require.Equal(t, http.StatusServiceUnavailable, status, "what is not seen is not done")
	require.Len(t, h.desk.acts(), 2)
}

// TestWhatARunCouldNotLookAt when it began is no way round an amount: neither what nobody told of,
// nor what came by its amount only then.
func TestWhatARunCouldNotLookAt(t *testing.T) {
	t.Parallel()
	h := withAmount(t)
	h.desk.letters(3)
	h.desk.handles(handled)
	h.desk.bodies = map[string]string{}
	for i := range 3 {
		h.desk.bodies[fmt.Sprintf("dead/payments/m-%03d", i)] = `{"amount":5}`
	}
	b := h.as("operator")
	form := b.confirm(together1)
	silent := h.desk.many["dead/payments/m-001"]
	h.desk.mu.Lock()
	h.desk.many["dead/payments/m-001"] = deadletters.Detail{Row: silent.Row}
	h.desk.mu.Unlock()
	got := b.post("/do", form)
	require.Contains(t, b.runs(got.to, asks), "nobody can tell whether one is for 1 dead letter")
	require.Empty(t, h.desk.acts())
	require.Equal(t, http.StatusSeeOther, b.steers(b.runs(got.to, asks), "stop", "").status)

	h.desk.letters(3)
	got = b.post("/do", b.confirm(together1))
	page := b.runs(got.to, asks)
	require.Len(t, h.desk.acts(), 1)
	h.desk.mu.Lock()
	h.desk.bodies["dead/payments/m-001"] = `{"amount":5000}`
	h.desk.mu.Unlock()
	require.Equal(t, http.StatusSeeOther, b.steers(page, "go", "100").status)
	require.Contains(t, b.runs(got.to, string(batch.Over)+"</span>"), "a second person is needed: dead letter dead/payments/m-001 has 5000")
	require.Len(t, h.desk.acts(), 2, "and the other one")
}
