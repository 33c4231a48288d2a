package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/console/internal/oidc"
	"github.com/holdfastmq/holdfast/console/internal/site"
)

// Groups say which groups, of a login provider or a proxy, have which role. A name means exactly
// that group; of several, the largest role counts. Who is in none of them is refused.
type Groups struct{ Viewers, Operators, Admins []string }

// OIDC is a provider of OpenID Connect. Issuer, ClientID and RedirectURL are required.
type OIDC struct {
	// Issuer is the provider's address, such as https://login.example.com/realms/main.
	Issuer, ClientID string
	// ClientSecret is the client's. Empty: it has none, and PKCE alone protects the code.
	ClientSecret string
	// RedirectURL is the console's address with the path /login/oidc/callback. The provider
	// sends browsers back there, whatever a request says of its host.
	RedirectURL string
	// Scopes are asked for beside openid. Nil: profile and email.
	Scopes []string
	// NameClaim is the claim that is the operator's name: take one that nobody can choose
	// himself. Empty: the e-mail address if the provider says that it is verified, in small
	// letters, else "sub/" and the subject. "email" counts only if it is verified. A name
	// has to be of ASCII letters, digits and marks, without spaces.
	NameClaim string
	// GroupsClaim is the claim of the ID token that has the groups. Empty: "groups".
	GroupsClaim string
	// Prompt is what the provider is asked to do: login, consent or select_account. Empty:
	// what it does by itself.
	Prompt string
	// Session is how long a session lasts at most, 12 hours in any case. 0: until the ID
	// token expires.
	Session time.Duration
	// Skew is by how much the provider's clock and this one may differ. 0: a minute.
	Skew time.Duration
	// Transport reaches the provider. Nil: http.DefaultTransport.
	Transport http.RoundTripper
}

// Proxy is a proxy in front of the console that has authenticated whom it names. UserHeader,
// GroupsHeader, and From or Secret are required.
type Proxy struct {
	// UserHeader and GroupsHeader are such as X-Forwarded-User and X-Forwarded-Groups, which
	// has names with commas between.
	UserHeader, GroupsHeader string
	// From are the networks from which the proxy itself connects. Secret is what it sends in
	// SecretHeader, of at least 16 bytes. Of both, each has to fit. From anybody else, each
	// of these headers has the request refused.
	From                 []netip.Prefix
	SecretHeader, Secret string
}

// logins fills in who may log in.
func (c *Console) logins(o Options, s *site.Options) error {
	if o.Users != nil && o.DevLogin {
		return errors.New("give users or a login for development, not both")
	}
	if o.Users == nil && !o.DevLogin && o.OIDC == nil && o.Proxy == nil {
		return errors.New("nobody could log in: give users, a provider of OpenID Connect, or a proxy")
	}
	if o.DevLogin {
		c.once = login.NewOnce("dev", o.Now)
		s.Once = c.once
	}
	if o.Users != nil {
		users, err := login.ReadUsers(o.Users)
		if err != nil {
			return fmt.Errorf("users: %w", err)
		}
		s.Users = users
	}
	groups := login.Groups(o.Groups)
	if p := o.OIDC; p != nil {
		var err error
		s.OIDC, err = oidc.New(oidc.Options{Issuer: p.Issuer, ClientID: p.ClientID, ClientSecret: p.ClientSecret,
			RedirectURL: p.RedirectURL, Scopes: p.Scopes, NameClaim: p.NameClaim, GroupsClaim: p.GroupsClaim, Groups: groups,
			Prompt: p.Prompt, Session: p.Session, Skew: p.Skew, Transport: p.Transport, Now: o.Now})
		if err != nil {
			return fmt.Errorf("OpenID Connect: %w", err)
		}
	}
	if p := o.Proxy; p != nil {
		s.Proxy = &login.Proxy{User: p.UserHeader, Groups: p.GroupsHeader, From: p.From, SecretHeader: p.SecretHeader,
			Secret: p.Secret, Roles: groups}
		if err := s.Proxy.Check(); err != nil {
			return fmt.Errorf("the proxy's login: %w", err)
		}
	}
	return nil
}
