package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/holdfastmq/holdfast/console/internal/login"
)

// Begun is a login that is under way, as the cookie of its browser has it.
type Begun struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Next     string    `json:"p"`
	Until    time.Time `json:"u"`
}

// nextKept is how long the page may be that somebody goes on to: a cookie has 4096 bytes.
const nextKept = 1500

// Begin begins a login. to is where its browser goes, cookie what it keeps meanwhile; next is
// the page that it goes on to.
func (p *Provider) Begin(ctx context.Context, next string) (to, cookie string, err error) {
	d, err := p.discover(ctx)
	if err != nil {
		return "", "", err
	}
	if len(next) > nextKept {
		next = "/"
	}
	begun := Begun{rand.Text(), rand.Text(), oauth2.GenerateVerifier(), next, p.o.Now().Add(Lasts)}
	clear, err := json.Marshal(begun)
	if err != nil {
		return "", "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(begun.Nonce), oauth2.S256ChallengeOption(begun.Verifier)}
	if p.o.Prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", p.o.Prompt))
	}
	return p.flow(d).AuthCodeURL(begun.State, options...),
		base64.RawURLEncoding.EncodeToString(p.box.Seal(nil, nil, clear, nil)), nil
}

// errStray refuses an answer that this browser has not asked for, or no more.
func errStray(why string) error {
	return &RefusedError{Why: "This login was not begun in this browser, took too long, or was used already",
		Remedy: "begin it again", Err: errors.New(why), Stray: true}
}

// Accept reads the cookie of a login, to which its browser comes back with a state, and has it
// used up. It asks nobody.
func (p *Provider) Accept(cookie, state string) (Begun, error) {
	var begun Begun
	sealed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil || cookie == "" {
		return begun, errStray("no cookie of a login")
	}
	clear, err := p.box.Open(nil, nil, sealed, nil)
	if err != nil || json.Unmarshal(clear, &begun) != nil {
		return begun, errStray("the cookie is not of this process")
	}
	now := p.o.Now()
	switch {
	case subtle.ConstantTimeCompare([]byte(state), []byte(begun.State)) != 1:
		return begun, errStray("the state is another one")
	case !now.Before(begun.Until):
		return begun, errStray("it took too long")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, until := range p.used {
		if !now.Before(until) {
			delete(p.used, other)
		}
	}
	if _, twice := p.used[begun.State]; twice {
		return begun, errStray("the state was used already")
	}
	p.used[begun.State] = begun.Until
	return begun, nil
}

// End ends a login that Accept took, with what the provider sent its browser back with. It
// returns who that is, and the page to go on to.
func (p *Provider) End(ctx context.Context, begun Begun, q url.Values) (u login.User, next string, err error) {
	if said := q.Get("error"); said != "" {
		return login.User{}, "", &RefusedError{Why: "The login provider did not log you in: it says " + word(said),
			Remedy: "log in with another account there, or ask who runs it"}
	}
	if iss := q.Get("iss"); iss != "" && iss != p.o.Issuer {
		return login.User{}, "", &RefusedError{Why: "The answer is of another login provider",
			Remedy: "begin it again", Err: errors.New("iss is " + word(iss))}
	}
	d, err := p.discover(ctx)
	if err != nil {
		return login.User{}, "", err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), 2*answers)
	defer cancel()
	raw, err := p.exchange(ctx, d, q.Get("code"), begun)
	if err != nil {
		return login.User{}, "", err
	}
	u, err = p.believe(ctx, d, raw, begun.Nonce)
	return u, begun.Next, err
}

var noWord = regexp.MustCompile(`[^A-Za-z0-9_:/.-]+`)

// word is what somebody else wrote as one word.
func word(s string) string { return noWord.ReplaceAllString(s[:min(len(s), 100)], "?") }

// exchange has the provider give the ID token for a code.
func (p *Provider) exchange(ctx context.Context, d *discovered, code string, begun Begun) (raw string, err error) {
	if code == "" {
		return "", errStray("no code")
	}
	got, err := p.flow(d).Exchange(ctx, code, oauth2.VerifierOption(begun.Verifier))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.Response.StatusCode < http.StatusInternalServerError:
		refusal := &RefusedError{Why: "The login provider does not take the login back: it says " + word(refused.ErrorCode),
			Remedy: "begin it again", Err: errors.New("the token endpoint says " + refused.Response.Status)}
		if refused.ErrorCode == "invalid_client" || refused.ErrorCode == "unauthorized_client" {
			refusal.Remedy = "ask who runs the console to check the client's ID and secret"
		}
		return "", refusal
	case refused != nil: // its own text has the whole answer, and what is in that nobody knows
		return "", &AwayError{errors.New("the token endpoint says " + refused.Response.Status)}
	case err != nil:
		return "", &AwayError{err}
	}
	raw, _ = got.Extra("id_token").(string)
	if raw == "" {
		return "", &AwayError{errors.New("its answer has no ID token")}
	}
	return raw, nil
}

// believe checks an ID token, and says who it is of.
func (p *Provider) believe(ctx context.Context, d *discovered, raw, nonce string) (login.User, error) {
	now := p.o.Now()
	token, err := d.Verifier(&oidc.Config{ClientID: p.o.ClientID,
		Now: func() time.Time { return now.Add(-p.o.Skew) }}).Verify(ctx, raw)
	wrong := func(err error) error {
		return &RefusedError{Why: "What the login provider says of you is not believed", Err: err,
			Remedy: "begin it again; if that does not help, ask who runs the console: its log says why"}
	}
	var claims map[string]any
	switch {
	case errors.As(err, new(*oidc.TokenExpiredError)):
		return login.User{}, wrong(errors.New("the ID token has expired: see that the clocks are right"))
	case err != nil && strings.Contains(err.Error(), "fetching keys"):
		return login.User{}, &AwayError{err}
	case err != nil:
		return login.User{}, wrong(err)
	case subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1:
		return login.User{}, wrong(errors.New("the nonce is another one"))
	case token.IssuedAt.After(now.Add(p.o.Skew)):
		return login.User{}, wrong(errors.New("the ID token is of the future: see that the clocks are right"))
	}
	if err := token.Claims(&claims); err != nil {
		return login.User{}, wrong(err)
	}
	if by, there := claims["azp"]; (there || len(token.Audience) > 1) && by != p.o.ClientID {
		return login.User{}, wrong(errors.New("the ID token was made for another client (azp)"))
	}
	return p.user(claims, token.Subject, p.until(now, token.Expiry))
}

// until is when a session ends: with the ID token, which is good as long as the clocks may differ
// after its end.
func (p *Provider) until(now, expiry time.Time) time.Time {
	if p.o.Session > 0 {
		return now.Add(p.o.Session)
	}
	return expiry.Add(p.o.Skew)
}

// user is who the claims are of.
func (p *Provider) user(claims map[string]any, subject string, until time.Time) (login.User, error) {
	name, err := p.name(claims, subject)
	if err != nil {
		return login.User{}, &RefusedError{Why: "Nobody can act under your name here", Err: err,
			Remedy: "ask who runs the console which claim is the operator's name"}
	}
	role := p.o.Groups.Role(texts(claims[p.o.GroupsClaim]))
	if role == login.Nobody {
		return login.User{}, &RefusedError{Why: "You are logged in at the login provider as " + name +
			", and have no role here: none of your groups has one",
			Remedy: "ask who runs the console for a role; the groups are those of the claim " + word(p.o.GroupsClaim)}
	}
	return login.User{Name: name, Role: role, By: login.ByOIDC, Until: until}, nil
}

var address = regexp.MustCompile(`^[A-Za-z0-9._%+'-]+@[A-Za-z0-9.-]+$`)

// name is the operator's name. By itself it is what nobody can choose at the provider: an
// e-mail address that was verified, else the subject, which says so.
func (p *Provider) name(claims map[string]any, subject string) (name string, err error) {
	email, _ := claims["email"].(string)
	verified := claims["email_verified"] == true || claims["email_verified"] == "true"
	switch claim := p.o.NameClaim; {
	case claim == "" && verified && address.MatchString(email), claim == "email" && verified:
		name = strings.ToLower(email)
	case claim == "email":
		return "", errors.New("the provider has not verified the e-mail address")
	case claim == "":
		name = "sub/" + subject
	case claim == "sub":
		name = subject
	default:
		name, _ = claims[claim].(string)
	}
	if name == "" || name == "sub/" {
		return "", errors.New("the claim " + word(p.o.NameClaim) + " is missing, or no text")
	}
	return name, login.CheckForeignName(name)
}

// texts are a claim's: one, or several.
func texts(claim any) []string {
	switch claim := claim.(type) {
	case string:
		return []string{claim}
	case []any:
		var all []string
		for _, c := range claim {
			if s, ok := c.(string); ok && !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}
