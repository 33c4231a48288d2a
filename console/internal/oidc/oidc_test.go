package oidc_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/console/internal/oidc"
	"github.com/holdfastmq/holdfast/console/internal/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const redirect = "https://console.example.com" + oidc.Path

// site is a console's side, with a clock of its own.
type site struct {
	*oidc.Provider
	server *oidctest.Provider
	later  time.Duration
}

func options(p *oidctest.Provider) oidc.Options {
	return oidc.Options{Issuer: p.URL, ClientID: oidctest.Client, ClientSecret: oidctest.Secret, RedirectURL: redirect,
		Groups:    login.Groups{Viewers: []string{"staff"}, Operators: []string{"on-call"}, Admins: []string{"root"}},
		Transport: p.Client().Transport, Now: time.Now}
}

func newSite(t *testing.T, how func(*oidc.Options)) *site {
	t.Helper()
	s := &site{server: oidctest.New(t)}
	t.Cleanup(func() { s.server.Client().CloseIdleConnections() })
	s.server.Claims = map[string]any{"email": "Ann@Example.com", "email_verified": true, "groups": []string{"x", "on-call"}}
	o := options(s.server)
	o.Now = func() time.Time { return time.Now().Add(s.later) }
	if how != nil {
		how(&o)
	}
	p, err := oidc.New(o)
	require.NoError(t, err)
	s.Provider = p
	return s
}

// End accepts a login, and ends it.
func (s *site) End(ctx context.Context, cookie string, q url.Values) (login.User, string, error) {
	begun, err := s.Accept(cookie, q.Get("state"))
	if err != nil {
		return login.User{}, "", err
	}
	return s.Provider.End(ctx, begun, q)
}

// logIn goes the whole way.
func (s *site) logIn(t *testing.T) (login.User, string, error) {
	t.Helper()
	to, cookie, err := s.Begin(t.Context(), "/sagas?state=parked")
	require.NoError(t, err)
	return s.End(t.Context(), cookie, s.server.LogIn(to))
}

func TestALogin(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(o *oidc.Options) { o.Prompt = "select_account" })
	u, next, err := s.logIn(t)
	require.NoError(t, err)
	require.Equal(t, "/sagas?state=parked", next)
	require.Equal(t, []any{"ann@example.com", login.Operator, "oidc"}, []any{u.Name, u.Role, u.By})
	require.WithinDuration(t, time.Now().Add(time.Hour), u.Until, 10*time.Minute)
	require.Equal(t, redirect, s.server.Asked.Get("redirect_uri"))
	require.Equal(t, "select_account", s.server.Asked.Get("prompt"))
	require.Equal(t, "openid profile email", s.server.Asked.Get("scope"))
	require.NotEmpty(t, s.server.Asked.Get("nonce"))
	require.Contains(t, s.LogoutURL(), s.server.URL+"/logout?client_id=holdfast-console&post_logout_redirect_uri="+
		url.QueryEscape("https://console.example.com/login"))
}

// TestRoles: the largest of the groups, one that is a text, or none.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(o *oidc.Options) { o.GroupsClaim = "https://example.com/teams" })
	for _, c := range []struct {
		groups any
		want   login.Role
	}{
		{[]string{"staff", "root", "on-call"}, login.Admin}, {"staff", login.Viewer}, {[]any{"staff", 7, nil}, login.Viewer},
		{[]string{"Staff"}, login.Nobody}, {[]string{"staff "}, login.Nobody}, {"staff,root", login.Nobody},
		{[]string{}, login.Nobody}, {nil, login.Nobody}, {map[string]any{"root": true}, login.Nobody}, {[]string{""}, login.Nobody},
	} {
		s.server.Set(func() { s.server.Claims["https://example.com/teams"] = c.groups })
		u, _, err := s.logIn(t)
		require.Equal(t, c.want, u.Role, c.groups)
		if c.want == login.Nobody {
			require.ErrorContains(t, err, "as ann@example.com, and have no role here")
			continue
		}
		require.NoError(t, err)
	}
}

// TestWhoIsBelieved: a token that is wrong in one way lets nobody in.
func TestWhoIsBelieved(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	edit := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	public := x509.MarshalPKCS1PublicKey(s.server.Public())
	for name, c := range map[string]struct {
		edit func(map[string]any)
		sign func([]byte) string
		want string
	}{
		"audience":            {edit: edit("aud", "another"), want: "expected audience"},
		"no audience":         {edit: edit("aud", nil), want: "expected audience"},
		"of two, for another": {edit: edit("aud", []string{oidctest.Client, "x"}), want: "azp"},
		"made for another":    {edit: edit("azp", "x"), want: "azp"},
		"issuer":              {edit: edit("iss", "https://evil.example"), want: "issued by a different provider"},
		"issuer with a slash": {edit: edit("iss", s.server.URL+"/"), want: "issued by a different provider"},
		"expired":             {edit: edit("exp", time.Now().Add(-time.Hour).Unix()), want: "see that the clocks are right"},
		"of the future":       {edit: edit("iat", time.Now().Add(time.Hour).Unix()), want: "of the future"},
		"not before":          {edit: edit("nbf", time.Now().Add(time.Hour).Unix()), want: "before the nbf"},
		"nonce":               {edit: edit("nonce", "another"), want: "nonce"},
		"no nonce":            {edit: edit("nonce", nil), want: "nonce"},
		"another key": {sign: func(b []byte) string { return oidctest.SignedBy(t, jose.RS256, other, b) },
			want: "failed to verify"},
		"another key of that name": {sign: func(b []byte) string {
			return oidctest.SignedBy(t, jose.RS256, jose.JSONWebKey{Key: other, KeyID: s.server.KeyID()}, b)
		}, want: "failed to verify"},
		"HS256 with the public key": {sign: func(b []byte) string { return oidctest.SignedBy(t, jose.HS256, public, b) },
			want: "HS256"},
		"HS256 with the client's secret": {sign: func(b []byte) string {
			return oidctest.SignedBy(t, jose.HS256, []byte(strings.Repeat(oidctest.Secret, 2)), b)
		}, want: "HS256"},
		"alg none": {sign: func(b []byte) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(b) + "."
		}, want: "none"},
		"no token":   {sign: func([]byte) string { return "" }, want: "no ID token"},
		"no JWT":     {sign: func([]byte) string { return "x.y.z" }, want: "malformed"},
		"no subject": {edit: func(c map[string]any) { delete(c, "email"); c["sub"] = "" }, want: "missing"},
	} {
		s.server.Set(func() { s.server.Edit, s.server.Sign = c.edit, c.sign })
		_, _, err := s.logIn(t)
		require.ErrorContains(t, err, c.want, name)
	}
	s.server.Set(func() { s.server.Edit, s.server.Sign = nil, nil })
	_, _, err = s.logIn(t)
	require.NoError(t, err)
}

// TestClocksDiffer by less than is configured.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(o *oidc.Options) { o.Skew = 5 * time.Minute })
	s.server.Set(func() {
		s.server.Edit = func(c map[string]any) { c["exp"] = time.Now().Add(-2 * time.Minute).Unix() }
	})
	_, _, err := s.logIn(t)
	require.NoError(t, err)
	s.server.Set(func() {
		s.server.Edit = func(c map[string]any) { c["iat"] = time.Now().Add(2 * time.Minute).Unix() }
	})
	_, _, err = s.logIn(t)
	require.NoError(t, err)
}

// TestALoginIsOfItsBrowser: neither a state nor a code nor a cookie is good elsewhere, or again.
func TestALoginIsOfItsBrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	begin := func() (string, url.Values) {
		to, cookie, err := s.Begin(t.Context(), "/")
		require.NoError(t, err)
		return cookie, s.server.LogIn(to)
	}
	mine, back := begin()
	theirs, evil := begin()
	for name, c := range map[string]struct {
		cookie string
		q      url.Values
	}{
		"another one's answer": {mine, evil}, "another one's cookie": {theirs, back}, "no cookie": {"", back},
		"no cookie of ours": {base64.RawURLEncoding.EncodeToString([]byte(`{"s":"` + back.Get("state") + `"}`)), back},
		"no state":          {mine, url.Values{"code": back["code"]}}, "nothing": {"", url.Values{}},
	} {
		_, _, err := s.End(t.Context(), c.cookie, c.q)
		require.ErrorContains(t, err, "not begun in this browser", name)
	}
	_, _, err := s.End(t.Context(), mine, back)
	require.NoError(t, err)
	_, _, err = s.End(t.Context(), mine, back)
	require.ErrorContains(t, err, "used already")
	// The code of somebody else with an own state: the provider has another challenge for it.
	own, answer := begin()
	answer["code"] = evil["code"]
	_, _, err = s.End(t.Context(), own, answer)
	require.ErrorContains(t, err, "invalid_grant")
	// A code again, with a state that is new.
	own, answer = begin()
	answer["code"] = back["code"]
	_, _, err = s.End(t.Context(), own, answer)
	require.ErrorContains(t, err, "invalid_grant")
	// Too late, and of another process.
	own, answer = begin()
	s.later = oidc.Lasts
	_, _, err = s.End(t.Context(), own, answer)
	require.ErrorContains(t, err, "took too long")
	s.later = 0
	again, err := oidc.New(options(s.server))
	require.NoError(t, err)
	restarted := &site{Provider: again}
	_, _, err = restarted.End(t.Context(), own, answer)
	require.ErrorContains(t, err, "not of this process")
}

func TestTheProviderRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	to, cookie, err := s.Begin(t.Context(), "/")
	require.NoError(t, err)
	back := s.server.LogIn(to)
	_, _, err = s.End(t.Context(), cookie, url.Values{"state": back["state"], "error": {"access_denied<script>\x1b"}})
	var refused *oidc.RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "The login provider did not log you in: it says access_denied?script?", refused.Why)
	to, cookie, err = s.Begin(t.Context(), "/")
	require.NoError(t, err)
	back = s.server.LogIn(to)
	back.Set("iss", "https://evil.example")
	_, _, err = s.End(t.Context(), cookie, back)
	require.ErrorContains(t, err, "of another login provider")
	s.server.Set(func() { s.server.Refuses = "invalid_client" })
	_, _, err = s.logIn(t)
	require.ErrorAs(t, err, &refused)
	require.Contains(t, refused.Remedy, "the client's ID and secret")
}

// TestNames: by itself, it is one that nobody can choose.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		claim  string
		claims map[string]any
		want   string
		err    string
	}{
		"verified":               {"", map[string]any{"email": "ANN@example.com", "email_verified": true}, "ann@example.com", ""},
		"verified, as text":      {"", map[string]any{"email": "ann@example.com", "email_verified": "true"}, "ann@example.com", ""},
		"unverified":             {"", map[string]any{"email": "boss@example.com", "email_verified": false}, "sub/u-1", ""},
		"not said":               {"", map[string]any{"email": "boss@example.com"}, "sub/u-1", ""},
		"preferred alone":        {"", map[string]any{"preferred_username": "boss"}, "sub/u-1", ""},
		"no address":             {"", map[string]any{"email": "policy", "email_verified": true}, "sub/u-1", ""},
		"an address of letters":  {"", map[string]any{"email": "аnn@example.com", "email_verified": true}, "sub/u-1", ""},
		"email, unverified":      {"email", map[string]any{"email": "boss@example.com"}, "", "not verified"},
		"sub":                    {"sub", nil, "u-1", ""},
		"chosen":                 {"preferred_username", map[string]any{"preferred_username": "ann"}, "ann", ""},
		"missing":                {"upn", nil, "", "missing"},
		"no text":                {"upn", map[string]any{"upn": 7}, "", "missing"},
		"reserved":               {"upn", map[string]any{"upn": "Policy"}, "", "cannot be"},
		"reserved, too":          {"upn", map[string]any{"upn": "holdfast"}, "", "cannot be"},
		"system":                 {"upn", map[string]any{"upn": "SYSTEM"}, "", "cannot be"},
		"turned":                 {"upn", map[string]any{"upn": "ann\u202e"}, "", "not of ASCII"},
		"controls":               {"upn", map[string]any{"upn": "ann\x1b[2J"}, "", "not of ASCII"},
		"two lines":              {"upn", map[string]any{"upn": "ann\nadmin"}, "", "not of ASCII"},
		"unseen":                 {"upn", map[string]any{"upn": "ann\u200b"}, "", "not of ASCII"},
		"Cyrillic":               {"upn", map[string]any{"upn": "аnn"}, "", "not of ASCII"},
		"marked":                 {"upn", map[string]any{"upn": "ann (authenticated by file)"}, "", "not of ASCII"},
		"a colon":                {"upn", map[string]any{"upn": "ann:admin"}, "", "colon"},
		"long":                   {"upn", map[string]any{"upn": strings.Repeat("a", 161)}, "", "too long"},
		"a subject that is none": {"", map[string]any{"sub": "a b"}, "", "not of ASCII"},
	} {
		s := newSite(t, func(o *oidc.Options) { o.NameClaim = c.claim })
		s.server.Claims = map[string]any{"groups": "root"}
		for k, v := range c.claims {
			s.server.Claims[k] = v
		}
		u, _, err := s.logIn(t)
		if c.err != "" {
			require.ErrorContains(t, err, c.err, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.want, u.Name, name)
	}
}

// TestTheProviderIsAway: it is said, and it may come back. Keys may change meanwhile.
func TestTheProviderIsAway(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	away := func(is bool) { s.server.Set(func() { s.server.Away = is }) }
	away(true)
	_, _, err := s.Begin(t.Context(), "/")
	var gone *oidc.AwayError
	require.ErrorAs(t, err, &gone)
	require.Empty(t, s.LogoutURL())
	away(false)
	to, cookie, err := s.Begin(t.Context(), "/")
	require.NoError(t, err)
	back := s.server.LogIn(to)
	away(true)
	_, _, err = s.End(t.Context(), cookie, back)
	require.ErrorAs(t, err, &gone)
	require.Contains(t, err.Error(), "the token endpoint says 503")
	require.NotContains(t, err.Error(), "it is away", "what its page has is nobody's business")
	_, _, err = s.Begin(t.Context(), "/") // what it said of itself is known
	require.NoError(t, err)
	s.later = 2 * time.Hour // and counts on where it does not answer
	_, _, err = s.Begin(t.Context(), "/")
	require.NoError(t, err)
	s.later = 0
	away(false)
	_, _, err = s.logIn(t)
	require.NoError(t, err)
	s.server.Rotate()
	_, _, err = s.logIn(t)
	require.NoError(t, err, "with keys that are new")
}

// TestAProviderThatDoesNotAnswer holds nobody up beyond his deadline.
func TestAProviderThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	s := newSite(t, func(o *oidc.Options) {
		o.Issuer = "http://" + l.Addr().String()
		o.Transport = &http.Transport{DisableKeepAlives: true}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = s.Begin(ctx, "/")
	require.ErrorIs(t, err, context.Canceled)
}

// TestAProviderThatPoints elsewhere: to another issuer, or past TLS.
func TestAProviderThatPoints(t *testing.T) {
	t.Parallel()
	var document map[string]string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved/.well-known/openid-configuration" {
			http.Redirect(w, r, "/.well-known/openid-configuration", http.StatusTemporaryRedirect)
			return
		}
		_ = json.NewEncoder(w).Encode(document)
	}))
	t.Cleanup(server.Close)
	good := map[string]string{"issuer": server.URL, "authorization_endpoint": server.URL + "/a",
		"token_endpoint": server.URL + "/t", "jwks_uri": server.URL + "/k"}
	for name, c := range map[string]struct{ field, value, want string }{
		"issuer": {"issuer", "https://evil.example", "did not match"},
		"clear":  {"token_endpoint", "http://login.example.com/t", "want https"},
		"keys":   {"jwks_uri", "http://login.example.com/k", "want https"},
		"login":  {"authorization_endpoint", "javascript:alert(1)", "authorization_endpoint"},
	} {
		document = map[string]string{}
		for k, v := range good {
			document[k] = v
		}
		document[c.field] = c.value
		p, err := oidc.New(oidc.Options{Issuer: server.URL, ClientID: "x", RedirectURL: redirect, Now: time.Now,
			Groups: login.Groups{Viewers: []string{"x"}}, Transport: server.Client().Transport})
		require.NoError(t, err)
		_, _, err = p.Begin(t.Context(), "/")
		require.ErrorContains(t, err, c.want, name)
	}
	document = good
	p, err := oidc.New(oidc.Options{Issuer: server.URL + "/moved", ClientID: "x", RedirectURL: redirect, Now: time.Now,
		Groups: login.Groups{Viewers: []string{"x"}}, Transport: server.Client().Transport})
	require.NoError(t, err)
	_, _, err = p.Begin(t.Context(), "/")
	require.ErrorContains(t, err, "307")
}

func TestOptions(t *testing.T) {
	t.Parallel()
	good := oidc.Options{Issuer: "https://login.example.com", ClientID: "x", RedirectURL: redirect, Now: time.Now,
		Groups: login.Groups{Viewers: []string{"x"}}}
	for name, c := range map[string]struct {
		how  func(*oidc.Options)
		want string
	}{
		"no issuer":           {func(o *oidc.Options) { o.Issuer = "" }, "the issuer"},
		"in clear":            {func(o *oidc.Options) { o.Issuer = "http://login.example.com" }, "want https"},
		"back in clear":       {func(o *oidc.Options) { o.RedirectURL = "http://console.example.com" + oidc.Path }, "want https"},
		"back elsewhere":      {func(o *oidc.Options) { o.RedirectURL = "https://console.example.com/" }, oidc.Path},
		"back with a query":   {func(o *oidc.Options) { o.RedirectURL += "?x=1" }, oidc.Path},
		"no client":           {func(o *oidc.Options) { o.ClientID = "" }, "client ID"},
		"prompt":              {func(o *oidc.Options) { o.Prompt = "none" }, "prompt"},
		"no groups":           {func(o *oidc.Options) { o.Groups = login.Groups{} }, "no group has a role"},
		"an empty group":      {func(o *oidc.Options) { o.Groups.Admins = []string{""} }, "empty"},
		"a clock far off":     {func(o *oidc.Options) { o.Skew = time.Hour }, "clocks"},
		"a session of no use": {func(o *oidc.Options) { o.Session = -1 }, "session"},
	} {
		o := good
		c.how(&o)
		_, err := oidc.New(o)
		require.ErrorContains(t, err, c.want, name)
	}
	good.Issuer, good.RedirectURL = "http://127.0.0.1:5556", "http://localhost:8090"+oidc.Path
	_, err := oidc.New(good)
	require.NoError(t, err)
}

func TestASessionsLength(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(o *oidc.Options) { o.Session = 4 * time.Hour })
	u, _, err := s.logIn(t)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(4*time.Hour), u.Until, 10*time.Minute)
	require.False(t, errors.Is(err, context.Canceled))
}
