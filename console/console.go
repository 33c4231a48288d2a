package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/console/internal/site"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Options are what a console is made of. One of Users, OIDC, Proxy and DevLogin is required.
type Options struct {
	// Users has a line name:role:hash for each user, as `holdfast console hash` writes
	// it. It is read once.
	Users io.Reader
	// OIDC logs people in by a provider of OpenID Connect, Proxy whom a trusted proxy names;
	// nil: neither does. Groups say who of them may do what.
	OIDC   *OIDC
	Proxy  *Proxy
	Groups Groups
	// ApproveOver is how many dead letters an operator may act on in runs, and things by
	// tokens, within an hour without a second person. Beyond that, a run goes on after its
	// first one only when another operator says so, and a token is refused. 0: any number.
	ApproveOver int
	// ApproveWhen says whether a second person has to agree before an operator acts on a saga
	// or a dead letter, and why, in words for people: Holdfast does not know what an amount is.
	// Of many that are acted on together, one is enough. A token is refused. It has to be
	// quick, and may be called by several goroutines; where it panics, a second person is
	// needed. OverAmount returns one. Nil: none is needed for what something is.
	ApproveWhen func(Item) (needed bool, why string)
	// DevLogin lets in whoever has the address that Console.DevLogin returns, once, within
	// 15 minutes, as the admin "dev". It is for development.
	DevLogin bool
	// SecureCookies says that browsers reach the console by TLS only, its own or a
	// proxy's: then cookies are never sent without it.
	SecureCookies bool
	// Loopback says that it is served on loopback only: requests by another name than
	// localhost, or a loopback address, are refused, since a page of another site makes
	// them.
	Loopback bool
	// TrustedProxies are those whose X-Forwarded-For says where a request comes from, for
	// the limits of logins. Without any, it is who connects.
	TrustedProxies []netip.Prefix
	// Environ is the environment, as "NAME=value". Nil: this process's.
	Environ []string
	// Prefix is the installation's. Empty: HOLDFAST_PREFIX, or "holdfast".
	Prefix string
	// Log receives lines of JSON: refused logins, errors, and the audit where
	// DATABASE_URL is not set. Nil: the standard error.
	Log io.Writer
	// Meter makes metrics of what the first page shows: what `holdfast doctor` finds, and
	// what waits for an operator. Nil: none.
	Meter metric.MeterProvider
	// Now is the clock; its location is the time zone of the pages. Nil: time.Now.
	Now func() time.Time
}

// withDefaults fills in what is missing.
func (o Options) withDefaults() Options {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Log == nil {
		o.Log = os.Stderr
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Console is an http.Handler. Close it when it serves no more.
type Console struct {
	site  *site.Site
	desk  *desk.Desk
	once  *login.Once
	log   *slog.Logger
	close func()
}

// New returns a console. It needs nothing of the servers to be there, but for the table of
// the audit if there is a database that answers.
func New(ctx context.Context, o Options) (*Console, error) {
	o = o.withDefaults()
	out := &turns{w: o.Log}
	log := slog.New(slog.NewJSONHandler(out, nil))
	config := &reach.Config{PrefixFlag: o.Prefix}
	if err := config.ReadEnvironment(o.Environ, o.Now); err != nil {
		return nil, err
	}
	if err := config.ReadFlags(); err != nil {
		return nil, err
	}
	c := &Console{desk: desk.New(config, o.Now), log: log, close: func() {}}
	box, err := config.Box()
	if err != nil {
		return nil, err
	}
	s := site.Options{Desk: c.desk, Secure: o.SecureCookies, Loopback: o.Loopback, Proxies: o.TrustedProxies,
		Prefix: config.Prefix, Now: o.Now, Log: log, ApproveOver: o.ApproveOver, Ahead: true}
	if o.ApproveWhen != nil {
		s.ApproveWhen = func(i site.Item) (bool, string) { return o.ApproveWhen(Item(i)) }
	}
	if config.KeyringPath != "" {
		s.Codec, s.CodecOrigin = server.Codec{Box: box}, originOf(config.UI)
	}
	if err := c.logins(o, &s); err != nil {
		return nil, err
	}
	if s.Audit, c.close, err = openAudit(ctx, config, log, audit.NewLines(out, o.Now)); err != nil {
		return nil, err
	}
	c.site = site.New(s)
	if o.Meter == nil {
		return c, nil
	}
	measured, err := c.site.Measure(o.Meter)
	if err != nil {
		c.close()
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	closeAudit := c.close
	c.close = func() {
		_ = measured.Unregister() // nobody reads them any more
		closeAudit()
	}
	return c, nil
}

// originOf is the origin of a web address, as browsers say it; empty where it has none.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	host := strings.ToLower(u.Host)
	if port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; strings.HasSuffix(host, port) {
		host = strings.TrimSuffix(host, port)
	}
	return u.Scheme + "://" + host
}

// openAudit returns the log in the database, or lines where there is none.
func openAudit(ctx context.Context, config *reach.Config, log *slog.Logger, lines *audit.Lines) (to audit.Log,
	closeDB func(), err error) {
	if config.DatabaseURL == "" {
		return lines, func() {}, nil
	}
	db, closeDB, err := config.Database()
	if err != nil {
		return nil, nil, err
	}
	table := audit.NewTable(db, config.Prefix)
	there, err := table.There(ctx)
	switch {
	case err != nil:
		log.Warn("the database of the audit does not answer: no action is done until it does", "error", text.Of(err))
	case !there:
		closeDB()
		return nil, nil, text.WithRemedy(errors.New("the database has no table holdfast_audit"), "run `holdfast migrate`")
	}
	return table, closeDB, nil
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.site.ServeHTTP(w, r) }

// Server returns a server of the console, with the time limits that it needs and with its log.
// Its address is yours to set. Another server does not shut down while pages are live: call End first.
func (c *Console) Server() *http.Server {
	s := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 3 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelError)}
	s.RegisterOnShutdown(c.site.EndLive)
	return s
}

// End has no further action begin, and waits for those that are under way: two minutes at
// most.
func (c *Console) End() { c.site.End() }

// DevLogin is the path and query by which somebody logs in once; empty where that was done,
// or Options.DevLogin is not set.
func (c *Console) DevLogin() string {
	token := c.once.Token()
	if token == "" {
		return ""
	}
	return "/login/once?token=" + url.QueryEscape(token)
}

// Close ends the console, as End does, and its connections.
func (c *Console) Close() {
	c.End()
	c.desk.Close()
	c.close()
}

// turns has writers of one stream take turns.
type turns struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (t *turns) Write(line []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.w.Write(line)
}

// HashLine returns a line for Options.Users: a user's name, role (viewer, operator or admin)
// and hashed password.
func HashLine(name, role, password string) (string, error) {
	r, err := login.ParseRole(role)
	if err != nil {
		return "", err
	}
	return login.Line(name, r, password)
}
