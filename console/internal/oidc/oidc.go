// Package oidc logs people in by a provider of OpenID Connect: the authorization code flow
// with PKCE, state and nonce. What a login is about travels in a cookie that is encrypted for
// this process, so that nobody can fill its memory with logins that he begins. It knows no
// page; package site asks it.
package oidc

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/holdfastmq/holdfast/console/internal/login"
)

const (
	// Lasts is how long somebody may take at the provider.
	Lasts = 10 * time.Minute
	// answers is how long the provider may take for one request, and answerBytes how much
	// it may say.
	answers, answerBytes = 5 * time.Second, 1 << 20
	// fresh is how long what the provider says of itself counts.
	fresh = time.Hour
	// Skew is by how much its clock and ours may differ, unless Options say so.
	Skew = time.Minute
)

// Options are what a Provider is made of. Issuer, ClientID and RedirectURL are required.
type Options struct {
	Issuer, ClientID, ClientSecret string
	// RedirectURL is where the provider sends browsers back: the console's address, with
	// Path. What a request says of its host does not count.
	RedirectURL string
	// Scopes are asked for beside openid. Nil: profile and email.
	Scopes []string
	// NameClaim is the claim that is the operator's name. Empty: the e-mail address if the
	// provider has verified it, else the subject.
	NameClaim string
	// GroupsClaim is the claim with the groups. Empty: "groups".
	GroupsClaim string
	Groups      login.Groups
	// Prompt is the parameter prompt: empty, login, consent or select_account.
	Prompt string
	// Session is how long a session lasts at most. 0: until the ID token expires.
	Session time.Duration
	// Skew is by how much the clocks may differ. 0: a minute.
	Skew time.Duration
	// Transport reaches the provider. Nil: http.DefaultTransport.
	Transport http.RoundTripper
	Now       func() time.Time
}

// Path is where the provider sends browsers back to.
const Path = "/login/oidc/callback"

// RefusedError says why somebody was not let in, in words for his page.
type RefusedError struct {
	Why, Remedy string
	// Err is for the log.
	Err error
	// Stray says that anybody can bring it about.
	Stray bool
}

func (e *RefusedError) Error() string {
	if e.Err != nil {
		return e.Why + ": " + e.Err.Error()
	}
	return e.Why
}

func (e *RefusedError) Unwrap() error { return e.Err }

// AwayError says that the provider does not answer, or not as a provider.
type AwayError struct{ Err error }

func (e *AwayError) Error() string {
	return "the login provider does not answer as it should: " + e.Err.Error()
}

func (e *AwayError) Unwrap() error { return e.Err }

// Provider logs people in. Its methods may be called from many goroutines.
type Provider struct {
	o      Options
	client *http.Client
	box    cipher.AEAD

	mu    sync.Mutex
	known *discovered
	used  map[string]time.Time // states of logins that came back, until they end
}

// discovered is what the provider says of itself.
type discovered struct {
	*oidc.Provider
	at     time.Time
	logout string
	style  oauth2.AuthStyle
}

// New returns a provider; it is not asked yet.
func New(o Options) (*Provider, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Scopes == nil {
		o.Scopes = []string{"profile", "email"}
	}
	if o.GroupsClaim == "" {
		o.GroupsClaim = "groups"
	}
	if o.Skew == 0 {
		o.Skew = Skew
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Provider{o: o, box: box, used: map[string]time.Time{}, client: &http.Client{Timeout: answers,
		Transport: bounded{o.Transport},
		// A code or a secret goes nowhere but where the provider's own document says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// check says what is wrong with options.
func (o Options) check() error {
	back, err := secureURL("the redirect URL", o.RedirectURL)
	if err != nil {
		return err
	}
	if _, err := secureURL("the issuer", o.Issuer); err != nil {
		return err
	}
	switch {
	case o.ClientID == "":
		return errors.New("the client ID is empty: it is what the provider calls the console")
	case back.Path != Path || back.RawQuery != "" || back.Fragment != "":
		return fmt.Errorf("the redirect URL %s: want the console's address with the path %s", o.RedirectURL, Path)
	case !slices.Contains([]string{"", "login", "consent", "select_account"}, o.Prompt):
		return fmt.Errorf("prompt %q: want login, consent or select_account", o.Prompt)
	case o.Session < 0 || o.Skew < 0 || o.Skew > 10*time.Minute:
		return errors.New("the session's length is negative, or the clocks' difference is not within 10 minutes")
	}
	return o.Groups.Check()
}

// secureURL is a URL by which no secret travels in clear: https, or http on loopback.
func secureURL(what, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return nil, fmt.Errorf("%s %q: want a URL such as https://login.example.com", what, address)
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("%s %s: want https; http is for loopback only", what, address)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// bounded lets no answer be endless.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	next := b.next
	if next == nil {
		next = http.DefaultTransport
	}
	got, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(got.Body, answerBytes), got.Body}
	return got, nil
}

// discover returns what the provider says of itself. What it said before counts on where it
// does not answer now.
func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	p.mu.Lock()
	known := p.known
	p.mu.Unlock()
	if known != nil && p.o.Now().Sub(known.at) < fresh {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), answers)
	defer cancel()
	newly, err := p.ask(ctx)
	switch {
	case err != nil && known != nil:
		return known, nil
	case err != nil:
		return nil, &AwayError{err}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = newly
	return newly, nil
}

// ask reads the provider's document.
func (p *Provider) ask(ctx context.Context) (*discovered, error) {
	found, err := oidc.NewProvider(ctx, p.o.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		Keys   string   `json:"jwks_uri"`
		Logout string   `json:"end_session_endpoint"`
		Styles []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, err
	}
	for what, address := range map[string]string{"authorization_endpoint": found.Endpoint().AuthURL,
		"token_endpoint": found.Endpoint().TokenURL, "jwks_uri": more.Keys} {
		if _, err := secureURL("its "+what, address); err != nil {
			return nil, err
		}
	}
	if _, err := secureURL("", more.Logout); err != nil {
		more.Logout = ""
	}
	// To try both ways would use the code up with the first one.
	style := oauth2.AuthStyleInHeader
	if p.o.ClientSecret == "" || len(more.Styles) > 0 && !slices.Contains(more.Styles, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return &discovered{found, p.o.Now(), more.Logout, style}, nil
}

// flow is the client's side of the code flow.
func (p *Provider) flow(d *discovered) *oauth2.Config {
	at := d.Endpoint()
	at.AuthStyle = d.style
	return &oauth2.Config{ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret, Endpoint: at,
		RedirectURL: p.o.RedirectURL, Scopes: append([]string{oidc.ScopeOpenID}, p.o.Scopes...)}
}

// LogoutURL is where somebody logs out at the provider; empty where that is not known.
func (p *Provider) LogoutURL() string {
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || p.known.logout == "" {
		return ""
	}
	u, err := url.Parse(p.known.logout)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.o.ClientID)
	q.Set("post_logout_redirect_uri", strings.TrimSuffix(p.o.RedirectURL, Path)+"/login")
	u.RawQuery = q.Encode()
	return u.String()
}
