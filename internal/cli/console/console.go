// Package console holds the command holdfast console, which serves package console, and the
// one that makes lines for its file of users.
package console

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/console"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/metrics"
)

// flags are those of holdfast console.
type flags struct {
	listen, users     string
	metrics           string
	cert, key         string
	proxies           []string
	devLogin, secured bool
	approveOver       int
	approveAmount     string
	amountField       string
	logins
}

// New returns the command holdfast console.
func New(a *frame.App) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "console",
		Short: "Serve the web console: what needs a person, and the means to mend it",
		Long: `Serve the web console until Ctrl-C: what needs a person now, sagas and dead
letters, and the actions on them, each with what it will do before it is done.
It reaches RabbitMQ, PostgreSQL and Temporal as the other commands do; what is
away is said on its pages, and the rest works.

Who may log in is in a file, --users, with a line name:role:hash for each, as
holdfast console hash writes it. A viewer looks, an operator acts too, an admin
also reads the audit. What an operator does is recorded in each workflow's
history under the name of the login, and by what it was authenticated. The file
is read once; sessions end with this process.

Besides, or instead, --oidc-issuer logs in by a provider of OpenID Connect, and
--proxy-user-header whom a proxy names, by --viewers, --operators and --admins,
which name groups. See docs/console.md.

The audit goes to the table holdfast_audit of DATABASE_URL, else as lines of
JSON to the standard error.

Without --tls-cert it listens on loopback only, unless --secure-cookies says
that a proxy in front of it does TLS. Then it takes what comes without TLS from
whoever reaches it: listen where only the proxy does.

--metrics serves what the first page shows as numbers, at an address of its own
and without a login: what doctor finds, and what waits for an operator. While
they are read, the whole installation is looked at every minute.`,
		Example: "  holdfast console hash ann --role operator >>users && chmod 600 users\n" +
			"  holdfast console --users users\n" +
			"  holdfast console --users users --listen :8443 --tls-cert cert.pem --tls-key key.pem",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.logins.check(cmd.Flags()); err != nil {
				return err
			}
			if err := f.check(); err != nil {
				return err
			}
			if f.approveAmount == "" && cmd.Flags().Changed("amount-field") {
				return text.Usagef("--amount-field goes with --approve-amount")
			}
			if f.approveAmount == "" && cmd.Flags().Changed("approve-amount") {
				return text.Usagef("--approve-amount: want a number")
			}
			return serve(cmd.Context(), a, f)
		},
	}
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8090", "the address to listen on")
	c.Flags().StringVar(&f.users, "users", "", "the file of users")
	c.Flags().BoolVar(&f.devLogin, "dev-login", false, "for development, on loopback only: no users, but an address that "+
		"is good for one login within 15 minutes, as the admin dev")
	c.Flags().BoolVar(&f.secured, "secure-cookies", false, "browsers reach it by TLS only, such as a proxy's")
	c.Flags().StringSliceVar(&f.proxies, "trusted-proxy", nil, "a proxy's address or CIDR: its X-Forwarded-For says who "+
		"logs in, for the limits of logins")
	c.Flags().StringVar(&f.cert, "tls-cert", "", "serve TLS with this certificate, a file in PEM")
	c.Flags().StringVar(&f.key, "tls-key", "", "the certificate's key, a file in PEM")
	c.Flags().StringVar(&f.metrics, "metrics", "", frame.MetricsUsage)
	c.Flags().IntVar(&f.approveOver, "approve-over", 0, "another operator has to agree to act on more than so many dead "+
		"letters; 0: on none")
	c.Flags().StringVar(&f.approveAmount, "approve-amount", "", "another operator has to agree to act on a saga or a "+
		"dead letter whose --amount-field is over this number, or cannot be told")
	c.Flags().StringVar(&f.amountField, "amount-field", "amount", "where --approve-amount finds the number in a saga's "+
		"state or a message's body, in JSON, such as order.total")
	f.register(c.Flags())
	c.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	c.MarkFlagsMutuallyExclusive("users", "dev-login")
	c.AddCommand(newHash(a))
	return c
}

// check says what is wrong with the flags.
func (f flags) check() error {
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return text.Usagef("--listen %s: want HOST:PORT", f.listen)
	}
	if err := frame.CheckMetrics(f.metrics); err != nil {
		return err
	}
	local := isLoopback(host)
	switch {
	case f.approveOver < 0:
		return text.Usagef("--approve-over %d: want 0 or more", f.approveOver)
	case f.users == "" && !f.devLogin && !f.any():
		return text.Usagef("say who may log in, with --users FILE: `holdfast console hash` makes its lines; or with " +
			"--oidc-issuer or --proxy-user-header")
	case f.devLogin && !local:
		return text.Usagef("--dev-login is for loopback: --listen %s can be reached from elsewhere", f.listen)
	case !local && f.cert == "" && !f.secured:
		return text.Usagef("--listen %s can be reached from elsewhere, and passwords would travel as they are: add "+
			"--tls-cert and --tls-key, or --secure-cookies if a proxy in front of it does TLS", f.listen)
	}
	return nil
}

// options are the console's.
func (f flags) options(a *frame.App) (console.Options, error) {
	o := console.Options{DevLogin: f.devLogin, SecureCookies: f.secured || f.cert != "", Environ: a.Environ,
		Prefix: a.PrefixFlag, Log: a.Err, Now: a.Now, ApproveOver: f.approveOver}
	host, _, _ := net.SplitHostPort(f.listen)         // check has seen it
	o.Loopback = isLoopback(host) && !o.SecureCookies // a proxy, or a certificate, has another name
	var err error
	if f.approveAmount != "" {
		if o.ApproveWhen, err = console.OverAmount(f.approveAmount, f.amountField); err != nil {
			return o, text.Usagef("--approve-amount, --amount-field: %w", err)
		}
	}
	if o.TrustedProxies, err = prefixes("--trusted-proxy", f.proxies); err != nil {
		return o, err
	}
	return o, f.fill(&o)
}

// warnOfReaders says that others can read the file of users.
func warnOfReaders(a *frame.App, file *os.File) {
	if info, err := file.Stat(); err == nil && info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" {
		text.Printf(a.Err, "Everybody on this machine can read %s, and guess at the passwords: chmod 600 it.\n", file.Name())
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serve serves the console until ctx is done.
func serve(ctx context.Context, a *frame.App, f flags) error {
	o, err := f.options(a)
	if err != nil {
		return err
	}
	if f.users != "" {
		file, err := os.Open(f.users)
		if err != nil {
			return text.Usagef("--users: %w", err)
		}
		defer func() { _ = file.Close() }()
		warnOfReaders(a, file)
		o.Users = file
	}
	shown, err := metrics.New()
	if err != nil {
		return err
	}
	if f.metrics != "" {
		o.Meter = shown.MeterProvider()
	}
	c, err := console.New(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	url, stop, err := frame.ServeMetrics(ctx, f.metrics, shown)
	if err != nil {
		return err
	}
	defer stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return text.WithRemedy(err, "choose another address with --listen")
	}
	tell(a, f, l.Addr().String(), c.DevLogin())
	if url != "" {
		text.Printf(a.Out, "Metrics for Prometheus are at %s\n", url)
	}
	return run(ctx, l, c.Server(), f, stopTime, c.End)
}

// tell says where the console is.
func tell(a *frame.App, f flags, address, devLogin string) {
	scheme := "http://"
	if f.cert != "" {
		scheme = "https://"
	}
	text.Printf(a.Out, "The console is at %s%s/ ; Ctrl-C ends it.\n", scheme, address)
	if devLogin != "" {
		text.Printf(a.Out, "Log in, once, within 15 minutes, at %s%s%s\n", scheme, address, devLogin)
	}
}

const (
	// stopTime is how long requests may go on once the console is told to end; actions
	// may go on until their own time is over.
	stopTime = 10 * time.Second
	// answerTime is how long their answers may take then.
	answerTime = 2 * time.Second
)

// run serves until ctx is done, and then calls end, and waits for the requests that are under
// way, for so long, and for what end waits for.
func run(ctx context.Context, l net.Listener, s *http.Server, f flags, stop time.Duration, end func()) error {
	ended := make(chan error, 1)
	go func() {
		if f.cert != "" {
			ended <- s.ServeTLS(l, f.cert, f.key)
			return
		}
		ended <- s.Serve(l)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	over := make(chan struct{})
	go func() { // at once: a run on many has no further one begun while others wait for their pages
		defer close(over)
		end()
	}()
	err := shutdown(ctx, s, stop)
	<-over // what was begun comes to its end, whether its browser waits or not
	if errors.Is(err, context.DeadlineExceeded) {
		if err = shutdown(ctx, s, answerTime); errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
	}
	<-ended
	return err
}

func shutdown(ctx context.Context, s *http.Server, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	return s.Shutdown(ctx)
}
