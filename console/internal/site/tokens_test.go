package site

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/console/internal/oidc"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// token has somebody make a token.
func (b *browser) token(what string) string {
	b.h.t.Helper()
	form := fields(b.h.t, b.get("/tokens").body, "/tokens")
	form.Set("for", what)
	got := b.post("/tokens", form)
	require.Equal(b.h.t, http.StatusOK, got.status, got.body)
	return regexp.MustCompile(`holdfast_[\w-]{43}`).FindString(got.body)
}

// ask is the command line with a token.
func (h *house) ask(method, path, token string, body any, header http.Header) (status int, answer string) {
	h.t.Helper()
	b, err := json.Marshal(body)
	require.NoError(h.t, err)
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.web.URL+path, bytes.NewReader(b))
	require.NoError(h.t, err)
	for name, values := range header {
		r.Header[name] = values
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	got, err := http.DefaultClient.Do(r)
	require.NoError(h.t, err)
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	require.NoError(h.t, err)
	return got.StatusCode, string(text)
}

func retryOrder() vouch.Order {
	return vouch.Order{Kind: vouch.Saga, ID: sagaID, Run: "r-1", Act: "retry", Saga: &sagaflow.Request{Operator: "somebody else",
		Reason: "the card works again", Step: "pay"}}
}

func TestTheCommandLineActsByAToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	token := b.token("my machine")
	require.NotContains(t, b.get("/tokens").body, token, "it is shown once")
	status, who := h.ask(http.MethodGet, vouch.WhoPath, token, nil, nil)
	require.Equal(t, http.StatusOK, status)
	var whose vouch.Whose
	require.NoError(t, json.Unmarshal([]byte(who), &whose))
	require.Equal(t, vouch.Whose{Operator: "operator (authenticated by file)", Role: "operator",
		Until: began.Add(login.Longest)}, whose)
	status, said := h.ask(http.MethodPost, vouch.ActPath, token, retryOrder(), nil)
	require.Equal(t, http.StatusOK, status, said)
	var a vouch.Answer
	require.NoError(t, json.Unmarshal([]byte(said), &a))
	require.Equal(t, actions.Retried, a.Outcome.Outcome)
	require.Equal(t, []string{"retry " + sagaID + " by operator (authenticated by file): the card works again"}, h.desk.acts())
	all := h.entries()[1:] // the first is that of the token
	require.Len(t, all, 2)
	require.Equal(t, []string{"operator (authenticated by file)", "saga retry", sagaID, "pay", "asked", "retried"},
		[]string{all[0].Who, all[0].Action, all[0].Target, all[0].Step, all[0].Outcome, all[1].Outcome})
	require.Contains(t, all[0].Detail, "by the command line, token ")
	require.Equal(t, all[0].Request, all[1].Request)
	require.NotContains(t, all[0].Detail+h.log.String(), token)
}

// TestATokenIsAllThatCounts: not a cookie, nor another token, nor one that has ended.
func TestATokenIsAllThatCounts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	token := b.token("my machine")
	for name, wrong := range map[string]string{"none": "", "another": token + "x", "the session's": b.id(),
		"a hash": "holdfast_" + strings.Repeat("A", 43), "lower": strings.ToLower(token)} {
		status, _ := h.ask(http.MethodPost, vouch.ActPath, wrong, retryOrder(), http.Header{"Cookie": {"holdfast=" + b.id()}})
		require.Equal(t, http.StatusUnauthorized, status, name)
	}
	require.Equal(t, http.StatusSeeOther, h.browser().send(http.MethodGet, "/sagas", nil,
		http.Header{"Authorization": {"Bearer " + token}, "Cookie": {"holdfast=" + token}}).status, "a token is no session")
	// It outlives its session, for as long as that might have lasted.
	h.pass(11 * time.Hour)
	status, _ := h.ask(http.MethodGet, vouch.WhoPath, token, nil, nil)
	require.Equal(t, http.StatusOK, status)
	h.pass(time.Hour)
	status, _ = h.ask(http.MethodGet, vouch.WhoPath, token, nil, nil)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Empty(t, h.desk.acts())
}

func TestTokensAreRevoked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	token, other := b.token("one"), b.token("two")
	status, _ := h.ask(http.MethodPost, vouch.EndPath, token, nil, nil)
	require.Equal(t, http.StatusOK, status)
	status, _ = h.ask(http.MethodGet, vouch.WhoPath, token, nil, nil)
	require.Equal(t, http.StatusUnauthorized, status)
	form := fields(t, b.get("/tokens").body, "/tokens/revoke")
	status, _ = h.ask(http.MethodGet, vouch.WhoPath, other, nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, http.StatusSeeOther, b.post("/tokens/revoke", form).status)
	status, _ = h.ask(http.MethodGet, vouch.WhoPath, other, nil, nil)
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestWhoMakesTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	viewer := h.as("viewer")
	require.Equal(t, http.StatusForbidden, viewer.get("/tokens").status)
	require.NotContains(t, viewer.get("/").body, "/tokens")
	b := h.as("operator")
	form := fields(t, b.get("/tokens").body, "/tokens")
	require.Equal(t, http.StatusUnprocessableEntity, b.post("/tokens", form).status)
	form.Set("for", "x")
	require.Equal(t, http.StatusForbidden, b.post("/tokens", url.Values{"for": {"x"}}).status)
	h.audit.breaks(errAway)
	got := b.post("/tokens", form)
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.NotContains(t, got.body, "holdfast_")
	h.audit.breaks(nil)
	for range 10 {
		require.Equal(t, http.StatusOK, b.post("/tokens", form).status)
	}
	require.Equal(t, http.StatusConflict, b.post("/tokens", form).status)
}

// TestATokenEndsWithItsLogin where that has an end of its own.
func TestATokenEndsWithItsLogin(t *testing.T) {
	t.Parallel()
	h, p := withOIDC(t)
	b := h.browser()
	require.Equal(t, http.StatusOK, b.get(loginAt(t, b, p, "/")).status)
	token := b.token("my machine")
	status, _ := h.ask(http.MethodPost, vouch.ActPath, token, retryOrder(), nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, h.desk.acts()[0], " by ann@example.com (authenticated by oidc): ")
	h.pass(time.Hour + oidc.Skew)
	status, _ = h.ask(http.MethodPost, vouch.ActPath, token, retryOrder(), nil)
	require.Equal(t, http.StatusUnauthorized, status)
}

// TestTheAuditHasWhatAnOrderIsOf under its own name, and what is beside the act.
func TestTheAuditHasWhatAnOrderIsOf(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.as("operator").token("my machine")
	o := retryOrder()
	o.ID, o.Saga.Value = "other words for "+sagaID, json.RawMessage(`{"a":1}`)
	status, said := h.ask(http.MethodPost, vouch.ActPath, token, o, nil)
	require.Equal(t, http.StatusOK, status, said)
	all := h.entries()[1:]
	require.Equal(t, []string{sagaID, sagaID}, []string{all[0].Target, all[1].Target})
	require.Contains(t, all[0].Detail, ", with a value")
	require.Len(t, h.desk.acts(), 1)
	require.Contains(t, h.desk.acts()[0], "retry "+sagaID+" by ")
	o.Run = "another"
	status, said = h.ask(http.MethodPost, vouch.ActPath, token, o, nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, said, "no such run")
	require.Len(t, h.desk.acts(), 1)

	require.Equal(t, ", forced, with another body (sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad)",
		beside(vouch.Order{Letter: &deadflow.Request{Force: true, Text: "abc"}}))
	require.Equal(t, ", forced", beside(vouch.Order{Tx: &txflow.Request{Force: true}}))
}

func TestWrongOrders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.as("operator").token("my machine")
	for name, c := range map[string]struct {
		change func(*vouch.Order)
		want   int
	}{
		"no request":   {func(o *vouch.Order) { o.Saga = nil }, 400},
		"another kind": {func(o *vouch.Order) { o.Kind = vouch.Tx }, 400},
		"no kind":      {func(o *vouch.Order) { o.Kind = "" }, 400},
		"no reason":    {func(o *vouch.Order) { o.Saga.Reason = " \x1b " }, 422},
		"a long one":   {func(o *vouch.Order) { o.Saga.Reason = strings.Repeat("x", maxReason+1) }, 422},
	} {
		o := retryOrder()
		c.change(&o)
		status, said := h.ask(http.MethodPost, vouch.ActPath, token, o, nil)
		require.Equal(t, c.want, status, name)
		require.Contains(t, said, `"error"`)
	}
	status, _ := h.ask(http.MethodPost, vouch.ActPath, token, "x", nil)
	require.Equal(t, http.StatusBadRequest, status)
	h.audit.breaks(errAway)
	status, said := h.ask(http.MethodPost, vouch.ActPath, token, retryOrder(), nil)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, said, "the audit cannot be written")
	require.Empty(t, h.desk.acts())
}

// TestAdminsSeeAllTokens, never what lets in, and end them.
func TestAdminsSeeAllTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	operator, admin := h.as("operator"), h.as("admin")
	token := operator.token("my <machine>")
	own := admin.token("hers")
	status, said := h.ask(http.MethodPost, vouch.ActPath, token, retryOrder(), nil)
	require.Equal(t, http.StatusOK, status, said)
	page := admin.get("/tokens").body
	for _, want := range []string{"Those of others", "<td>operator (authenticated by file)</td><td>operator</td><td>my &lt;machine&gt;</td>",
		"2026-01-03 00:00:00", "2026-01-02 12:00:00 (0s ago)</td><td>2026-01-02 12:00:00 (0s ago)"} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, token)
	require.NotContains(t, page, strings.TrimPrefix(token, "holdfast_"))
	_, others, _ := strings.Cut(page, "Those of others")
	key := fields(t, others, "/tokens/revoke")

	page = operator.get("/tokens").body
	require.NotContains(t, page, "Those of others")
	require.NotContains(t, page, "hers")
	_, hers, _ := strings.Cut(admin.get("/tokens").body, "<td>hers</td>")
	forged := fields(t, operator.get("/tokens").body, "/tokens/revoke")
	forged.Set("key", fields(t, hers, "/tokens/revoke").Get("key"))
	require.Equal(t, http.StatusConflict, operator.post("/tokens/revoke", forged).status)
	refused := h.entries()
	require.Equal(t, []string{"operator (authenticated by file)", "token revoke", audit.Refused}, []string{refused[len(refused)-1].Who,
		refused[len(refused)-1].Action, refused[len(refused)-1].Outcome})
	status, _ = h.ask(http.MethodGet, vouch.WhoPath, own, nil, nil)
	require.Equal(t, http.StatusOK, status, "an operator ends his own alone")

	require.Equal(t, http.StatusSeeOther, admin.post("/tokens/revoke", key).status)
	status, _ = h.ask(http.MethodGet, vouch.WhoPath, token, nil, nil)
	require.Equal(t, http.StatusUnauthorized, status)
	require.NotContains(t, admin.get("/tokens").body, "Those of others")
	all := h.entries()
	last := all[len(all)-1]
	require.Equal(t, []string{"admin (authenticated by file)", "token revoke", key.Get("key"), "of operator (authenticated by file)"},
		[]string{last.Who, last.Action, last.Target, last.Detail})
}

// TestNamesInVain do not fill the audit.
func TestNamesInVain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.as("operator").token("my machine")
	before := len(h.entries())
	o := retryOrder()
	o.Run = "another"
	for range refusalsNoted + 5 {
		status, _ := h.ask(http.MethodPost, vouch.ActPath, token, o, nil)
		require.Equal(t, http.StatusOK, status)
	}
	require.Len(t, h.entries(), before+refusalsNoted)
}
