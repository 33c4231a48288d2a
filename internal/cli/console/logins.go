package console

import (
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/console"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// logins are the flags of those whom a provider or a proxy logs in.
type logins struct {
	oidc       console.OIDC
	secretFile string
	groups     console.Groups

	proxy           console.Proxy
	proxyFrom       []string
	proxySecretFile string
}

func (l *logins) register(f *pflag.FlagSet) {
	f.StringVar(&l.oidc.Issuer, "oidc-issuer", "", "log in by this provider of OpenID Connect, an URL")
	f.StringVar(&l.oidc.ClientID, "oidc-client", "", "what the provider calls the console")
	f.StringVar(&l.secretFile, "oidc-secret-file", "", "the file with the client's secret")
	f.StringVar(&l.oidc.RedirectURL, "oidc-redirect", "", "where the provider sends browsers back: the console's address "+
		"with /login/oidc/callback")
	f.StringSliceVar(&l.oidc.Scopes, "oidc-scope", nil, "scopes beside openid (default profile,email)")
	f.StringVar(&l.oidc.NameClaim, "oidc-name-claim", "", "the claim that is the operator's name (default a verified "+
		"email, else sub)")
	f.StringVar(&l.oidc.GroupsClaim, "oidc-groups-claim", "groups", "the claim that has the groups")
	f.StringVar(&l.oidc.Prompt, "oidc-prompt", "", "what the provider asks: login, consent or select_account")
	f.DurationVar(&l.oidc.Session, "oidc-session", 0, "how long a session lasts at most (default until the ID token "+
		"expires)")
	f.DurationVar(&l.oidc.Skew, "oidc-skew", time.Minute, "by how much the clocks may differ")
	f.StringVar(&l.proxy.UserHeader, "proxy-user-header", "", "log in whom a proxy names in this header")
	f.StringVar(&l.proxy.GroupsHeader, "proxy-groups-header", "", "the header with his groups, with commas between")
	f.StringSliceVar(&l.proxyFrom, "proxy-from", nil, "the addresses or CIDRs from which that proxy connects")
	f.StringVar(&l.proxy.SecretHeader, "proxy-secret-header", "", "the header with the secret by which it is known")
	f.StringVar(&l.proxySecretFile, "proxy-secret-file", "", "the file with that secret")
	f.StringArrayVar(&l.groups.Viewers, "viewers", nil, "a group of the provider or proxy whose members are viewers")
	f.StringArrayVar(&l.groups.Operators, "operators", nil, "a group whose members are operators")
	f.StringArrayVar(&l.groups.Admins, "admins", nil, "a group whose members are admins")
}

// any reports whether the flags let anybody log in.
func (l *logins) any() bool { return l.oidc.Issuer != "" || l.proxy.UserHeader != "" }

// check says what is missing.
func (l *logins) check(f *pflag.FlagSet) error {
	with := map[string]string{"oidc": "oidc-issuer", "proxy": "proxy-user-header"}
	var wrong error
	f.Visit(func(given *pflag.Flag) {
		kind, _, _ := strings.Cut(given.Name, "-")
		if needs := with[kind]; needs != "" && !f.Changed(needs) && wrong == nil {
			wrong = text.Usagef("--%s goes with --%s", given.Name, needs)
		}
	})
	return wrong
}

// fill gives a console's options what the flags say.
func (l *logins) fill(o *console.Options) (err error) {
	o.Groups = l.groups
	if l.oidc.Issuer != "" {
		if l.oidc.ClientSecret, err = secretOf("--oidc-secret-file", l.secretFile); err != nil {
			return err
		}
		o.OIDC = &l.oidc
	}
	if l.proxy.UserHeader == "" {
		return nil
	}
	if l.proxy.Secret, err = secretOf("--proxy-secret-file", l.proxySecretFile); err != nil {
		return err
	}
	if l.proxy.From, err = prefixes("--proxy-from", l.proxyFrom); err != nil {
		return err
	}
	o.Proxy = &l.proxy
	return nil
}

// secretOf reads a file with a secret; none is named: it is empty.
func secretOf(flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", text.Usagef("%s: %w", flag, err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" {
		return "", text.Usagef("%s %s: it is empty", flag, path)
	}
	return secret, nil
}

// mappedBits are those before the address of IPv4 in one of IPv6.
const mappedBits = 96

// prefixes are the networks that a flag names.
func prefixes(flag string, named []string) (all []netip.Prefix, err error) {
	for _, at := range named {
		p, err := netip.ParsePrefix(at)
		if one, wrong := netip.ParseAddr(at); wrong == nil {
			p, err = one.Prefix(one.BitLen())
		}
		if err != nil {
			return nil, text.Usagef("%s %s: want an address, or a network such as 10.0.0.0/8", flag, at)
		}
		if at := p.Addr(); at.Is4In6() && p.Bits() >= mappedBits {
			p = netip.PrefixFrom(at.Unmap(), p.Bits()-mappedBits)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
