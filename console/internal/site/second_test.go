package site

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/batch"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
)

// withSecond is a console that wants a second person beyond two things.
func withSecond(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	o := h.site.Options
	o.ApproveOver = 2
	h.site = New(o)
	h.web.Config.Handler = h.site
	return h
}

// TestASecondPersonApproves: not who began it, and not who may only look.
func TestASecondPersonApproves(t *testing.T) {
	t.Parallel()
	h := withSecond(t)
	h.desk.letters(3)
	h.desk.handles(handled)
	b, eve := h.as("operator"), h.as("admin")
	got := b.post("/do", b.confirm(together1))
	mine := b.runs(got.to, asks)
	require.NotContains(t, mine, `value="go"`)
	require.Contains(t, mine, "another operator than operator (authenticated by file)")
	own := b.steers(mine, "go", "5")
	require.Equal(t, http.StatusForbidden, own.status, "he approves himself")
	again := h.as("operator") // in another session neither
	require.Equal(t, http.StatusForbidden, again.steers(again.runs(got.to, asks), "go", "5").status)
	require.NotContains(t, h.as("viewer").get(got.to).body, `value="go"`)
	require.Len(t, h.desk.acts(), 1)
	page := eve.runs(got.to, asks)
	require.Contains(t, page, "<dt>Why</dt><dd>as agreed")
	require.Contains(t, page, "once, and into no other", "what it does")
	require.Contains(t, page, `value="go"`)
	require.Equal(t, http.StatusSeeOther, eve.steers(page, "go", "100").status)
	eve.runs(got.to, string(batch.Over))
	acts := h.desk.acts()
	require.Len(t, acts, 3)
	require.NotContains(t, acts[0], "approved")
	for _, act := range acts[1:] {
		require.Contains(t, act, "(approved by admin (authenticated by file))")
	}
	var said []string
	for _, e := range h.entries() {
		if strings.HasSuffix(e.Action, ": go on") {
			said = append(said, e.Who+": "+e.Outcome)
		}
	}
	require.Equal(t, []string{"operator (authenticated by file): " + audit.Refused,
		"operator (authenticated by file): " + audit.Refused, "admin (authenticated by file): " + audit.Asked}, said)
}

// TestNobodyApprovesHimself by another spelling of his name, or by another login.
func TestNobodyApprovesHimself(t *testing.T) {
	t.Parallel()
	ann := login.Session{User: "Ann", By: login.ByProxy}
	v := batch.View{Who: ann.Signed(), About: about{Second: true, Person: person(ann)}}
	for _, of := range []login.Session{ann, {User: "ann", By: login.ByProxy}, {User: "ANN", By: login.ByFile}} {
		require.False(t, maySayGo(v, of), of.Signed())
	}
	require.True(t, maySayGo(v, login.Session{User: "bob", By: login.ByProxy}))
	v.About = about{Person: person(ann)}
	require.True(t, maySayGo(v, ann))
	require.False(t, maySayGo(v, login.Session{User: "ann", By: login.ByFile}), "it signs with another name")
	s := New(Options{ApproveOver: 2, Now: time.Now})
	require.False(t, s.needsSecond(ann, 2))
	require.True(t, s.needsSecond(login.Session{User: "ann", By: login.ByFile}, 1))
}

// TestAReasonSaysNothingOfTheConsoles: neither an approval, nor a mark, nor a run.
func TestAReasonSaysNothingOfTheConsoles(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	token := b.token("my machine")
	for _, reason := range []string{"fix (approved by bob)", "fix ( Approved  By bob", "fix, by bob (authenticated by oidc)",
		"Bob (claimed) said so", "run 0123456789abcdef: fix"} {
		form := b.confirm(retrySaga)
		form.Set("reason", reason)
		got := b.post("/do", form)
		require.Equal(t, http.StatusUnprocessableEntity, got.status, reason)
		require.Contains(t, got.body, "words that the console itself adds")
		o := retryOrder()
		o.Saga.Reason = reason
		status, _ := h.ask(http.MethodPost, vouch.ActPath, token, o, nil)
		require.Equal(t, http.StatusUnprocessableEntity, status, reason)
	}
	require.Empty(t, h.desk.acts())
	require.Empty(t, wrongReason("run the bank again, approved by bob"))
}

// TestManySmallRunsAreOne: what an operator does within an hour is added up.
func TestManySmallRunsAreOne(t *testing.T) {
	t.Parallel()
	h := withSecond(t)
	h.desk.letters(2)
	h.desk.handles(handled)
	b := h.as("operator")
	got := b.post("/do", b.confirm(together1))
	require.Contains(t, b.runs(got.to, asks), `value="go"`, "two are not too many")
	h.desk.letters(2)
	got = b.post("/do", b.confirm(together1))
	require.NotContains(t, b.runs(got.to, asks), `value="go"`, "four are")
	h.pass(time.Hour)
	h.desk.letters(2)
	b = h.as("operator")
	got = b.post("/do", b.confirm(together1))
	require.Contains(t, b.runs(got.to, asks), `value="go"`)
}

// TestATokenIsNoWayRound the second person.
func TestATokenIsNoWayRound(t *testing.T) {
	t.Parallel()
	h := withSecond(t)
	token := h.as("operator").token("my machine")
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusForbidden, http.StatusForbidden} {
		status, said := h.ask(http.MethodPost, vouch.ActPath, token, retryOrder(), nil)
		require.Equal(t, want, status, i)
		if want == http.StatusForbidden {
			require.Contains(t, said, "without a second person")
		}
	}
	require.Len(t, h.desk.acts(), 2)
}
