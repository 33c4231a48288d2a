package site

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/console/internal/oidc"
	"github.com/holdfastmq/holdfast/console/internal/oidc/oidctest"
)

var groupsOfTests = login.Groups{Viewers: []string{"staff"}, Operators: []string{"on-call"}, Admins: []string{"root"}}

// withOIDC is a console with users, and with a provider.
func withOIDC(t *testing.T) (*house, *oidctest.Provider) {
	t.Helper()
	h, p := build(t), oidctest.New(t)
	p.Now = h.now
	p.Claims = map[string]any{"email": "ann@example.com", "email_verified": true, "groups": []string{"on-call"}}
	o := h.site.Options
	var err error
	o.OIDC, err = oidc.New(oidc.Options{Issuer: p.URL, ClientID: oidctest.Client, ClientSecret: oidctest.Secret,
		RedirectURL: "https://console.example.com" + oidc.Path, Groups: groupsOfTests, Transport: p.Client().Transport, Now: h.now})
	require.NoError(t, err)
	h.site = New(o)
	h.web = httptest.NewServer(h.site)
	t.Cleanup(h.web.Close)
	return h, p
}

// loginAt begins a login on the page and has it done at the provider's; it returns the way back.
func loginAt(t *testing.T, b *browser, p *oidctest.Provider, next string) string {
	t.Helper()
	begun := b.get("/login/oidc?" + url.Values{"next": {next}}.Encode())
	require.Equal(t, http.StatusSeeOther, begun.status, begun.body)
	return oidc.Path + "?" + p.LogIn(begun.to).Encode()
}

func TestALoginByOIDC(t *testing.T) {
	t.Parallel()
	h, p := withOIDC(t)
	b := h.browser()
	require.Contains(t, b.get("/login?next=%2Fsagas").body, `href="/login/oidc?next=%2Fsagas"`)
	back := loginAt(t, b, p, "/sagas?state=parked")
	// What a request says of its host does not count.
	require.Equal(t, "https://console.example.com"+oidc.Path, p.Asked.Get("redirect_uri"))
	got := b.send(http.MethodGet, back, nil, http.Header{"Sec-Fetch-Site": {"cross-site"}})
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.Contains(t, got.body, `content="0;url=/sagas?state=parked"`)
	require.Contains(t, strings.Join(got.header.Values("Set-Cookie"), "\n"), "SameSite=Strict")
	require.Equal(t, http.StatusOK, b.get("/sagas").status)
	require.Equal(t, http.StatusForbidden, b.get("/audit").status)
	require.Equal(t, http.StatusSeeOther, b.post("/do", b.confirm(retrySaga)).status)
	require.Equal(t, []string{"retry  " + sagaID + " by ann@example.com (authenticated by oidc): as agreed"}, h.desk.acts())
	require.Equal(t, "ann@example.com (authenticated by oidc)", h.entries()[1].Who)
	// It was good once, in this browser.
	require.Equal(t, http.StatusForbidden, b.get(back).status)
	require.Equal(t, http.StatusForbidden, h.browser().get(back).status)
	// Logged out here; the provider's own page is a link.
	form := fields(t, b.get("/").body, "/logout")
	left := b.post("/logout", form)
	require.Contains(t, left.body, p.URL+"/logout?client_id=")
	require.Equal(t, http.StatusSeeOther, b.get("/sagas").status)
}

// TestAnOIDCSessionEndsWithItsToken although it is used: a minute later, by which clocks may differ.
func TestAnOIDCSessionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	h, p := withOIDC(t)
	b := h.browser()
	require.Equal(t, http.StatusOK, b.get(loginAt(t, b, p, "/")).status)
	for range 3 {
		h.pass(19 * time.Minute)
		require.Equal(t, http.StatusOK, b.get("/sagas").status)
	}
	h.pass(3*time.Minute + 59*time.Second)
	require.Equal(t, http.StatusOK, b.get("/sagas").status)
	h.pass(time.Second)
	require.Equal(t, http.StatusSeeOther, b.get("/sagas").status)
}

// TestOIDCLeadsNowhereElse: the page to go on to is one of ours.
func TestOIDCLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	h, p := withOIDC(t)
	for _, next := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "javascript:alert(1)",
		"/\tevil.example", "/" + strings.Repeat("a", 3000)} {
		b := h.browser()
		got := b.get(loginAt(t, b, p, next))
		require.Equal(t, http.StatusOK, got.status)
		require.Contains(t, got.body, `content="0;url=/"`, next)
	}
}

// TestWhomOIDCDoesNotLetIn: a page says why, and there is no session.
func TestWhomOIDCDoesNotLetIn(t *testing.T) {
	t.Parallel()
	h, p := withOIDC(t)
	b := h.browser()
	p.Set(func() { p.Claims["groups"] = []string{"x"} })
	got := b.get(loginAt(t, b, p, "/"))
	require.Equal(t, http.StatusForbidden, got.status)
	require.Contains(t, got.body, "have no role here: none of your groups has one")
	require.Empty(t, b.id())
	p.Set(func() {
		p.Claims["groups"] = []string{"root"}
		p.Edit = func(c map[string]any) { c["aud"] = "another" }
	})
	got = b.get(loginAt(t, b, p, "/"))
	require.Equal(t, http.StatusForbidden, got.status)
	require.NotContains(t, got.body, "another", "what is wrong is for the log")
	require.Contains(t, h.log.String(), "expected audience")
	// What was not begun here costs nobody a try, nor does what a page has a browser fetch.
	for range 30 {
		require.Equal(t, http.StatusForbidden, h.browser().get(oidc.Path+"?code=x&state=y").status)
		require.Equal(t, http.StatusForbidden, h.browser().send(http.MethodGet, "/login/oidc", nil,
			http.Header{"Sec-Fetch-Dest": {"image"}}).status)
	}
	h.as("operator")
	// Who begins again and again is stopped, and passwords are not.
	status := 0
	for range 30 {
		status = h.browser().send(http.MethodGet, "/login/oidc", nil, http.Header{"Sec-Fetch-Dest": {"document"}}).status
	}
	require.Equal(t, http.StatusTooManyRequests, status)
	h.as("operator")
}

// TestWithoutTheProvider passwords and sessions are as before.
func TestWithoutTheProvider(t *testing.T) {
	t.Parallel()
	h, p := withOIDC(t)
	p.Set(func() { p.Away = true })
	b := h.browser()
	got := b.get("/login/oidc")
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.Contains(t, got.body, "The login provider does not answer")
	h.as("operator")
	p.Set(func() { p.Away = false })
	require.Equal(t, http.StatusOK, b.get(loginAt(t, b, p, "/")).status)
	p.Set(func() { p.Away = true })
	require.Equal(t, http.StatusOK, b.get("/sagas").status)
	// Where there is none, nothing is there.
	require.Equal(t, http.StatusNotFound, newHouse(t).browser().get("/login/oidc").status)
	require.Equal(t, http.StatusNotFound, newHouse(t).browser().get(oidc.Path).status)
}

// TestASlowProviderHoldsNobodyElseUp: passwords are compared meanwhile.
func TestASlowProviderHoldsNobodyElseUp(t *testing.T) {
	t.Parallel()
	h, p := withOIDC(t)
	goOn := make(chan struct{})
	var all sync.WaitGroup
	var backs []func()
	for range 3 {
		b := h.browser()
		back := loginAt(t, b, p, "/")
		backs = append(backs, func() { b.get(back) })
	}
	p.Set(func() { p.Sign = func([]byte) string { <-goOn; return "" } })
	for _, back := range backs {
		all.Go(back)
	}
	require.Eventually(t, func() bool { return p.Taken.Load() == 3 }, 5*time.Minute, time.Millisecond)
	h.as("operator")
	close(goOn)
	all.Wait()
}

// TestNamesakesAreTwo: who has another login's name is another operator.
func TestNamesakesAreTwo(t *testing.T) {
	t.Parallel()
	a := login.Session{User: "ann", By: login.ByFile}
	b := login.Session{User: "ann", By: login.ByOIDC}
	require.NotEqual(t, a.Signed(), b.Signed())
}

// behind is a console behind a proxy that connects from loopback.
func behind(t *testing.T, how func(*login.Proxy)) *house {
	t.Helper()
	h := build(t)
	o := h.site.Options
	o.Proxy = &login.Proxy{User: "X-Forwarded-User", Groups: "X-Forwarded-Groups", Roles: groupsOfTests,
		From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	if how != nil {
		how(o.Proxy)
	}
	require.NoError(t, o.Proxy.Check())
	h.site = New(o)
	h.web = httptest.NewServer(h.site)
	t.Cleanup(h.web.Close)
	return h
}

func named(user, groups string) http.Header {
	return http.Header{"X-Forwarded-User": {user}, "X-Forwarded-Groups": {groups}}
}

func TestALoginByTheProxy(t *testing.T) {
	t.Parallel()
	h := behind(t, nil)
	b := h.browser()
	ann := named("ann", "staff, on-call")
	require.Equal(t, http.StatusSeeOther, b.get("/").status)
	page := b.send(http.MethodGet, "/do?"+retrySaga, nil, ann)
	require.Equal(t, http.StatusOK, page.status, page.body)
	first := b.id()
	form := fields(t, page.body, "/do")
	form.Set("reason", "as agreed")
	headers := named("ann", "staff, on-call")
	headers.Set("Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusSeeOther, b.send(http.MethodPost, "/do", form, headers).status)
	require.Equal(t, []string{"retry  " + sagaID + " by ann (authenticated by proxy): as agreed"}, h.desk.acts())
	require.Equal(t, first, b.id(), "one session")
	require.Equal(t, http.StatusOK, b.send(http.MethodGet, "/", nil, named("ANN", "on-call")).status)
	require.Equal(t, first, b.id(), "however it is written")
	// Another one in the same browser has another session, and not that one's forms.
	bob := named("bob", "on-call")
	bob.Set("Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusForbidden, b.send(http.MethodPost, "/do", form, bob).status)
	require.NotEqual(t, first, b.id())
	// A role that was taken away counts at once.
	require.Equal(t, http.StatusForbidden, b.send(http.MethodGet, "/do?"+retrySaga, nil, named("bob", "staff")).status)
	got := b.send(http.MethodGet, "/", nil, named("bob", "x"))
	require.Equal(t, http.StatusForbidden, got.status)
	require.Contains(t, got.body, "none of your groups has a role")
	require.Equal(t, http.StatusForbidden, b.send(http.MethodGet, "/", nil, http.Header{"X-Forwarded-User": {"bob"}}).status)
	// Without the proxy's word the session is over, also for who has its cookie.
	b.send(http.MethodGet, "/", nil, ann)
	require.NotEmpty(t, b.id())
	require.Equal(t, http.StatusSeeOther, b.get("/").status)
	require.Equal(t, http.StatusSeeOther, b.get("/sagas").status)
	// Passwords do as before.
	require.Equal(t, http.StatusOK, h.as("operator").get("/").status)
}

// TestWhatIsNotTheProxys is refused, and said so.
func TestWhatIsNotTheProxys(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef"
	elsewhere := func(p *login.Proxy) { p.From = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }
	known := func(p *login.Proxy) { p.From, p.SecretHeader, p.Secret = nil, "X-Proxy-Secret", secret }
	both := func(p *login.Proxy) { known(p); elsewhere(p) }
	with := func(header http.Header, name string, values ...string) http.Header {
		header[name] = values
		return header
	}
	for name, c := range map[string]struct {
		how    func(*login.Proxy)
		header http.Header
		status int
		say    string
	}{
		"from elsewhere":           {elsewhere, named("ann", "root"), 403, "did not come from it"},
		"groups from elsewhere":    {elsewhere, http.Header{"X-Forwarded-Groups": {"root"}}, 403, "did not come from it"},
		"no secret":                {known, named("ann", "root"), 403, "did not come from it"},
		"another secret":           {known, with(named("ann", "root"), "X-Proxy-Secret", secret+"x"), 403, "did not come from it"},
		"two secrets":              {known, with(named("ann", "root"), "X-Proxy-Secret", secret, secret), 403, "did not come from it"},
		"a secret alone":           {known, with(http.Header{}, "X-Proxy-Secret", "x"), 403, "did not come from it"},
		"the secret":               {known, with(named("ann", "root"), "X-Proxy-Secret", secret), 200, "ann (admin)"},
		"the secret, elsewhere":    {both, with(named("ann", "root"), "X-Proxy-Secret", secret), 403, "did not come from it"},
		"as who claims another IP": {elsewhere, with(named("ann", "root"), "X-Forwarded-For", "10.0.0.1"), 403, "did not come from it"},
		"twice":                    {nil, with(named("ann", "root"), "X-Forwarded-User", "ann", "bob"), 400, "twice"},
		"groups twice":             {nil, with(named("ann", "root"), "X-Forwarded-Groups", "staff", "root"), 400, "twice"},
		"empty and one":            {nil, with(named("ann", "root"), "X-Forwarded-User", "", "bob"), 400, "twice"},
		"nobody with groups":       {nil, named("", "root"), 400, "no user"},
		"reserved":                 {nil, named("Timeout", "root"), 400, "Holdfast signs with that name"},
		"system":                   {nil, named("system", "root"), 400, "Holdfast signs with that name"},
		"marked":                   {nil, named("ann (authenticated by oidc)", "root"), 400, "not of ASCII"},
		"not of ASCII":             {nil, named("аnn", "root"), 400, "not of ASCII"},
	} {
		h := behind(t, c.how)
		got := h.browser().send(http.MethodGet, "/", nil, c.header)
		require.Equal(t, c.status, got.status, name)
		require.Contains(t, got.body, c.say, name)
		if c.status == http.StatusOK {
			continue
		}
		require.Contains(t, h.log.String(), "refused", name)
		require.NotContains(t, strings.Join(got.header.Values("Set-Cookie"), ""), "holdfast=", name)
	}
	// Where no proxy is configured, no header logs in.
	require.Equal(t, http.StatusSeeOther, newHouse(t).browser().send(http.MethodGet, "/", nil, named("ann", "root")).status)
}

func TestAProxyThatIsNotSafe(t *testing.T) {
	t.Parallel()
	good := login.Proxy{User: "X-User", Groups: "X-Groups", Roles: groupsOfTests, SecretHeader: "X-Secret",
		Secret: "0123456789abcdef"}
	require.NoError(t, good.Check())
	for want, how := range map[string]func(*login.Proxy){
		"anybody can send a header": func(p *login.Proxy) { p.SecretHeader, p.Secret = "", "" },
		"network is everybody's": func(p *login.Proxy) {
			p.SecretHeader, p.Secret, p.From = "", "", []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
		},
		"go together":         func(p *login.Proxy) { p.SecretHeader = "" },
		"less than 16 bytes":  func(p *login.Proxy) { p.Secret = "short" },
		"named twice":         func(p *login.Proxy) { p.Groups = "x-user" },
		"cannot be used":      func(p *login.Proxy) { p.User = "cookie" },
		"name the headers":    func(p *login.Proxy) { p.User = "" },
		"no group has a role": func(p *login.Proxy) { p.Roles = login.Groups{} },
	} {
		p := good
		how(&p)
		require.ErrorContains(t, p.Check(), want)
	}
}

// TestTheAuditIsNotFilledByWhoKeepsNoCookies: each of his requests is a session.
func TestTheAuditIsNotFilledByWhoKeepsNoCookies(t *testing.T) {
	t.Parallel()
	h := behind(t, nil)
	for range 3 * refusalsNoted {
		require.Equal(t, http.StatusOK, h.browser().send(http.MethodGet, "/", nil, named("ann", "staff")).status)
	}
	all, err := h.audit.Last(t.Context(), 1000, 0)
	require.NoError(t, err)
	require.Len(t, all, refusalsNoted)
	require.Equal(t, audit.Done, all[0].Outcome)
}
