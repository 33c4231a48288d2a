package site

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
)

// pages are all that need a login, and who may see them.
var pages = map[string]login.Role{"/": login.Viewer, "/sagas": login.Viewer, "/saga?id=" + sagaID: login.Viewer,
	"/dead": login.Viewer, "/dead/list": login.Viewer, "/letter?id=" + letterID: login.Viewer,
	"/transaction?id=t-1": login.Viewer, "/search?q=": login.Viewer, "/do?" + retrySaga: login.Operator, "/audit": login.Admin}

func TestNothingIsSeenWithoutALogin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	for page := range pages {
		got := b.get(page)
		require.Equal(t, http.StatusSeeOther, got.status, page)
		require.Equal(t, "/login?next="+url.QueryEscape(page), got.to)
		require.NotContains(t, got.body, "no card")
	}
	require.Equal(t, http.StatusUnauthorized, b.post("/do", url.Values{}).status)
	require.Equal(t, http.StatusNotFound, b.get("/nothing").status)
	require.Empty(t, h.desk.acts())
}

func TestRoles(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, role := range []login.Role{login.Viewer, login.Operator, login.Admin} {
		b := h.as(role.String())
		for page, needed := range pages {
			want := http.StatusOK
			if !role.May(needed) {
				want = http.StatusForbidden
			}
			require.Equal(t, want, b.get(page).status, "%s: %s", role, page)
		}
	}
	var refused []string
	for _, e := range h.entries() {
		if e.Outcome == audit.Refused && e.Target != "" {
			refused = append(refused, e.Who+" "+e.Action+" "+e.Target)
		}
	}
	require.Equal(t, []string{"viewer (authenticated by file) saga retry " + sagaID}, refused)
}

// TestAViewerCannotAct: not even with the form of somebody else.
func TestAViewerCannotAct(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	form := h.as("operator").confirm(retrySaga)
	viewer := h.as("viewer")
	page := viewer.get("/saga?id=" + sagaID)
	require.NotContains(t, page.body, "/do?")
	form.Set("token", fields(t, page.body, "/logout").Get("token"))
	got := viewer.post("/do", form)
	require.Equal(t, http.StatusForbidden, got.status)
	require.Empty(t, h.desk.acts())
	last := h.entries()
	require.Equal(t, []any{"viewer (authenticated by file)", audit.Refused, "the role viewer may not do that"},
		[]any{last[len(last)-1].Who, last[len(last)-1].Outcome, last[len(last)-1].Detail})
}

func TestAFormNeedsTheSessionsToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	other := fields(t, h.as("operator").get("/").body, "/logout").Get("token")
	form := b.confirm(retrySaga)
	good := form.Get("token")
	for _, token := range []string{"", "x", other, good + "x"} {
		form.Set("token", token)
		got := b.post("/do", form)
		require.Equal(t, http.StatusForbidden, got.status, token)
		require.Contains(t, got.body, "Nothing was done")
	}
	require.Equal(t, http.StatusForbidden, b.post("/logout", url.Values{}).status)
	require.Empty(t, h.desk.acts())
	for _, e := range h.entries() {
		require.Equal(t, audit.Refused, e.Outcome)
		require.Contains(t, e.Detail, "token")
	}
	require.Equal(t, sagaID, h.entries()[0].Target)
	// A token in the address does not count.
	form.Del("token")
	require.Equal(t, http.StatusForbidden, b.post("/do?token="+good, form).status)
	form.Set("token", good)
	require.Equal(t, http.StatusSeeOther, b.post("/do", form).status)
	require.Len(t, h.desk.acts(), 1)
}

func TestAFormOfAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	form := b.confirm(retrySaga)
	for _, header := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}},
		{"Sec-Fetch-Site": {"same-site"}},
		{"Origin": {"https://evil.example"}},
		{"Origin": {"null"}},
	} {
		got := b.send(http.MethodPost, "/do", form, header)
		require.Equal(t, http.StatusForbidden, got.status, header)
		before := len(h.entries())
		got = h.browser().send(http.MethodPost, "/login", url.Values{"name": {"operator"}, "password": {password}}, header)
		require.Equal(t, http.StatusForbidden, got.status, header)
		require.Len(t, h.entries(), before, "who is not logged in cannot fill the audit")
	}
	require.Empty(t, h.desk.acts())
	require.Contains(t, h.entries()[0].Detail, "another site")
	require.Equal(t, "operator (authenticated by file)", h.entries()[0].Who)
}

func TestEveryAnswerHasItsHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("admin")
	answers := []answer{h.browser().get("/login"), h.browser().get("/"), b.get("/nothing"), b.post("/do", url.Values{}),
		b.get("/static/console.css")}
	for page := range pages {
		answers = append(answers, b.get(page))
	}
	for _, got := range answers {
		csp := got.header.Get("Content-Security-Policy")
		require.Contains(t, csp, "default-src 'none'")
		require.Contains(t, csp, "frame-ancestors 'none'")
		require.Contains(t, csp, "form-action 'self'")
		require.NotContains(t, csp, "unsafe")
		if ownScript.MatchString(got.body) { // a page that is live
			require.True(t, strings.HasSuffix(csp, "; script-src 'self'; connect-src 'self'"), csp)
			got.body = ownScript.ReplaceAllString(got.body, "")
		} else {
			require.NotContains(t, csp, "script-src")
		}
		require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
		require.Equal(t, "DENY", got.header.Get("X-Frame-Options"))
		// The policy would keep these from working.
		for _, inline := range []string{"<script", "<style", " style=", " onclick=", "javascript:", "http://", "//cdn"} {
			require.NotContains(t, got.body, inline)
		}
	}
}

func TestTheCookie(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	form := url.Values{"name": {"operator"}, "password": {password}}
	cookie := h.browser().post("/login", form).header.Get("Set-Cookie")
	require.Contains(t, cookie, "HttpOnly")
	require.Contains(t, cookie, "SameSite=Strict")
	require.NotContains(t, cookie, "Secure")
	require.NotContains(t, cookie, "operator")
	h.site.Secure = true
	cookie = h.browser().post("/login", form).header.Get("Set-Cookie")
	require.Contains(t, cookie, "__Host-holdfast=")
	require.Contains(t, cookie, "Secure")
	require.Contains(t, cookie, "Path=/")
	require.NotContains(t, cookie, "Domain")
}

func TestWrongPasswords(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	for _, form := range []url.Values{
		{"name": {"operator"}, "password": {"wrong horse"}},
		{"name": {"nobody"}, "password": {password}},
		{"name": {`<script>alert(1)</script>`}, "password": {""}},
		{},
	} {
		got := b.post("/login", form)
		require.Equal(t, http.StatusUnauthorized, got.status)
		require.Contains(t, got.body, "The name or the password is wrong.")
		require.NotContains(t, got.body, "<script>")
		require.Empty(t, got.header.Get("Set-Cookie"))
	}
	require.Equal(t, http.StatusSeeOther, b.get("/").status)
}

func TestLoginsAreLimited(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	wrong := url.Values{"name": {"operator"}, "password": {"wrong horse"}}
	var got answer
	for range 5 {
		got = b.post("/login", wrong)
		require.Equal(t, http.StatusUnauthorized, got.status)
	}
	got = b.post("/login", url.Values{"name": {"operator"}, "password": {password}})
	require.Equal(t, http.StatusTooManyRequests, got.status, "the right one, too")
	require.Equal(t, "300", got.header.Get("Retry-After"))
	h.as("viewer")
	h.pass(5 * time.Minute)
	h.as("operator")
}

// TestNobodyKeepsOthersOut: behind a trusted proxy, limits are for whom it names.
func TestNobodyKeepsOthersOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.site.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	b := h.browser()
	from := func(address, secret string) int {
		form := url.Values{"name": {"operator"}, "password": {secret}}
		return b.send(http.MethodPost, "/login", form, http.Header{"Origin": {h.web.URL}, "X-Forwarded-For": {"198.51.100.7, " + address}}).status
	}
	for range 5 {
		require.Equal(t, http.StatusUnauthorized, from("192.0.2.1", "wrong horse"))
	}
	require.Equal(t, http.StatusTooManyRequests, from("192.0.2.1", password))
	require.Equal(t, http.StatusSeeOther, from("192.0.2.2", password))
}

// TestALoginThatIsNotThereCostsNoTry: anybody can ask for it.
func TestALoginThatIsNotThereCostsNoTry(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.site.Once = nil
	b := h.browser()
	for range 400 {
		require.Equal(t, http.StatusForbidden, b.post("/login/once", url.Values{"token": {""}}).status)
	}
	h.as("operator")
}

// TestTheLogIsBounded: anybody can be refused, as often as he likes; and may have written a
// password where the name belongs.
func TestTheLogIsBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	long := strings.Repeat("x", 1000)
	for range 8 {
		b.post("/login", url.Values{"name": {password + long}, "password": {""}})
		b.send(http.MethodPost, "/login", url.Values{}, http.Header{"Origin": {"https://evil.example"}})
	}
	lines := h.log.String()
	require.Equal(t, 3, strings.Count(lines, "\n"), lines) // wrong, too often, another site
	require.NotContains(t, lines, password)
	h.pass(warnWindow)
	b.send(http.MethodPost, "/login", url.Values{}, http.Header{"Origin": {"https://evil.example"}})
	lines = h.log.String()
	require.Contains(t, lines, `"not logged before"=7`)
	o := h.site.Options
	o.Loopback = true
	r := httptest.NewRequest(http.MethodGet, "/login", nil)
	r.Host = long
	New(o).ServeHTTP(httptest.NewRecorder(), r)
	require.Contains(t, h.log.String(), "host="+long[:64]+"…")
}

// TestRefusalsDoNotFillTheAudit: whatever somebody asks for who may not.
func TestRefusalsDoNotFillTheAudit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("viewer")
	for range refusalsNoted + 15 {
		require.Equal(t, http.StatusForbidden, b.get("/do?"+retrySaga).status)
	}
	h.as("viewer").get("/do?" + retrySaga) // another session is no other budget
	require.Len(t, h.entries(), refusalsNoted)
	require.Equal(t, 2, strings.Count(h.log.String(), "the audit has not all that was refused"), "the first one, and the tenth")
	h.pass(refusalsWindow)
	h.as("viewer").get("/do?" + retrySaga)
	require.Len(t, h.entries(), refusalsNoted+1)
	require.Contains(t, h.log.String(), `"not noted before"=16`)
}

// TestARefusalIsNotedAlthoughTheBrowserLeft: who is refused cannot keep that from the audit.
func TestARefusalIsNotedAlthoughTheBrowserLeft(t *testing.T) {
	t.Parallel()
	h := build(t)
	id, _ := h.site.sessions.Begin(login.User{Name: "viewer", Role: login.Viewer, By: login.ByFile})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(gone, http.MethodGet, "/do?"+retrySaga, nil)
	r.AddCookie(&http.Cookie{Name: "holdfast", Value: id})
	h.site.ServeHTTP(httptest.NewRecorder(), r)
	require.Len(t, h.entries(), 1)
}

// TestLoopbackIsLocalhost: a page of another site, whose name leads here, gets nothing.
func TestLoopbackIsLocalhost(t *testing.T) {
	t.Parallel()
	h := build(t)
	o := h.site.Options
	for _, loopback := range []bool{true, false} {
		o.Loopback = loopback
		site := New(o)
		for host, own := range map[string]bool{"localhost": true, "LOCALHOST:8090": true, "127.0.0.1:8090": true, "127.0.0.1": true,
			"[::1]:8090": true, "[::1]": true, "evil.example": false, "evil.example:8090": false, "192.0.2.1:8090": false,
			"localhost.evil.example": false, "": false} {
			r := httptest.NewRequest(http.MethodGet, "/login", nil)
			r.Host = host
			got := httptest.NewRecorder()
			site.ServeHTTP(got, r)
			want := http.StatusOK
			if loopback && !own {
				want = http.StatusMisdirectedRequest
			}
			require.Equal(t, want, got.Code, host)
		}
	}
}

func TestALoginBeginsANewSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("viewer")
	before := b.id()
	require.Equal(t, http.StatusSeeOther, b.post("/login", url.Values{"name": {"operator"}, "password": {password}}).status)
	require.NotEqual(t, before, b.id())
	_, ok := h.site.sessions.Find(before, false)
	require.False(t, ok, "the one before is over")
}

func TestAfterTheLogin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for next, want := range map[string]string{"/saga?id=" + sagaID: "/saga?id=" + sagaID, "": "/", "https://evil.example/": "/",
		"//evil.example": "/", `/\evil.example`: "/", "javascript:alert(1)": "/", "/\n/evil.example": "/"} {
		got := h.browser().post("/login", url.Values{"name": {"operator"}, "password": {password}, "next": {next}})
		require.Equal(t, want, got.to, next)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	id := b.id()
	got := b.post("/logout", fields(t, b.get("/").body, "/logout"))
	require.Equal(t, http.StatusSeeOther, got.status)
	_, ok := h.site.sessions.Find(id, false)
	require.False(t, ok)
	require.Equal(t, http.StatusSeeOther, b.get("/").status)
}

func TestASessionEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	form := b.confirm(retrySaga)
	h.pass(login.Idle - time.Second)
	require.Equal(t, http.StatusOK, b.get("/?auto=1").status, "the page looks again by itself")
	h.pass(time.Second)
	got := b.post("/do", form)
	require.Equal(t, http.StatusUnauthorized, got.status)
	require.Contains(t, got.body, "Nothing was done")
	require.Empty(t, h.desk.acts())
	require.Equal(t, http.StatusSeeOther, b.get("/").status)
}

func TestALoginThatIsGoodOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	page := h.browser().get("/login/once?token=" + h.once.Token())
	require.Equal(t, http.StatusOK, page.status)
	form := fields(t, page.body, "/login/once")
	require.Equal(t, http.StatusForbidden, h.browser().post("/login/once", url.Values{"token": {"guess"}}).status)
	b := h.browser()
	require.Equal(t, http.StatusSeeOther, b.post("/login/once", form).status)
	require.Contains(t, b.get("/").body, "dev (admin)")
	require.Equal(t, http.StatusForbidden, h.browser().post("/login/once", form).status)
	require.Equal(t, http.StatusForbidden, h.browser().post("/login/once", url.Values{"token": {""}}).status)
}

func TestAFormHasALimit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	got := h.browser().post("/login", url.Values{"name": {strings.Repeat("x", maxForm)}})
	require.Equal(t, http.StatusBadRequest, got.status)
}
