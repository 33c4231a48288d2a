// Package oidctest is a provider of OpenID Connect for tests: it issues tokens that are really
// signed, over HTTPS, and can be told to issue wrong ones.
package oidctest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

// Client and Secret are those of the only client.
const (
	Client = "holdfast-console"
	Secret = "the client's secret"
)

// Provider is a provider. Set its fields between logins.
type Provider struct {
	*httptest.Server
	t testing.TB

	mu sync.Mutex
	// Claims are those of whoever logs in; Edit changes what is about to be signed.
	Claims map[string]any
	Edit   func(claims map[string]any)
	// Sign signs; nil: by the key, which is published.
	Sign func(payload []byte) string
	// Away has everything fail but what was fetched already, Refuses the token endpoint.
	Away    bool
	Refuses string
	// Now is the provider's clock.
	Now func() time.Time
	// Asked is the query of the last authorization.
	Asked url.Values

	// Taken counts what came to the token endpoint.
	Taken atomic.Int64

	key   *rsa.PrivateKey
	kid   string
	codes map[string]url.Values
}

// New starts a provider.
func New(t testing.TB) *Provider {
	p := &Provider{t: t, Now: time.Now, codes: map[string]url.Values{}}
	p.Rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		p.json(w, http.StatusOK, map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize",
			"token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys", "end_session_endpoint": p.URL + "/logout",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		p.json(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.Public(), KeyID: p.kid, Use: "sig",
			Algorithm: "RS256"}}})
	})
	mux.HandleFunc("/token", p.token)
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			p.Taken.Add(1)
		}
		p.mu.Lock()
		away := p.Away
		p.mu.Unlock()
		if away {
			http.Error(w, "it is away", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// Public is the key that is published.
func (p *Provider) Public() *rsa.PublicKey { return &p.key.PublicKey }

// Set changes fields.
func (p *Provider) Set(how func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	how()
}

// Rotate has the provider sign with another key, and publish that one alone.
func (p *Provider) Rotate() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(p.t, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.kid = key, rand.Text()
}

func (p *Provider) json(w http.ResponseWriter, status int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	require.NoError(p.t, json.NewEncoder(w).Encode(what))
}

// LogIn is somebody who logs in at the address to which a browser was sent: it returns the query
// with which the browser is sent back.
func (p *Provider) LogIn(address string) url.Values {
	p.t.Helper()
	u, err := url.Parse(address)
	require.NoError(p.t, err)
	q := u.Query()
	require.Equal(p.t, p.URL+"/authorize", u.Scheme+"://"+u.Host+u.Path)
	require.Equal(p.t, []string{"code", Client, "S256"}, []string{q.Get("response_type"), q.Get("client_id"),
		q.Get("code_challenge_method")})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Asked = q
	code := rand.Text()
	p.codes[code] = q
	return url.Values{"code": {code}, "state": {q.Get("state")}}
}

// token is the token endpoint. Each code is good once.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	refuse := func(why string) { p.json(w, http.StatusBadRequest, map[string]string{"error": why}) }
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	asked, known := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	switch {
	case p.Refuses != "":
		refuse(p.Refuses)
		return
	case id != Client || secret != Secret:
		refuse("invalid_client")
		return
	case !known || asked.Get("redirect_uri") != r.FormValue("redirect_uri") ||
		base64.RawURLEncoding.EncodeToString(challenge[:]) != asked.Get("code_challenge"):
		refuse("invalid_grant")
		return
	}
	now := p.Now()
	claims := map[string]any{"iss": p.URL, "aud": Client, "sub": "u-1", "iat": now.Unix(),
		"exp": now.Add(time.Hour).Unix(), "nonce": asked.Get("nonce")}
	for name, value := range p.Claims {
		claims[name] = value
	}
	if p.Edit != nil {
		p.Edit(claims)
	}
	payload, err := json.Marshal(claims)
	require.NoError(p.t, err)
	sign := p.Sign
	if sign == nil {
		sign = p.signed
	}
	p.json(w, http.StatusOK, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": sign(payload)})
}

func (p *Provider) signed(payload []byte) string {
	return SignedBy(p.t, jose.RS256, jose.JSONWebKey{Key: p.key, KeyID: p.kid}, payload)
}

// KeyID is that of the key that is published.
func (p *Provider) KeyID() string { return p.kid }

// SignedBy is a token that is signed with a key.
func SignedBy(t testing.TB, alg jose.SignatureAlgorithm, key any, payload []byte) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	token, err := signed.CompactSerialize()
	require.NoError(t, err)
	return token
}
