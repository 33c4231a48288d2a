// Package console holds the command holdfast console, which serves package console, and the
// one that makes lines for its file of users.
package console

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/console"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// flags are those of holdfast console.
type flags struct {
	listen, users     string
	cert, key         string
	devLogin, secured bool
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
history under the name of the login. The file is read once; sessions end with
this process.

The audit goes to the table holdfast_audit of DATABASE_URL, else as lines of
JSON to the standard error.

Without --tls-cert it listens on loopback only, unless --secure-cookies says
that a proxy in front of it does TLS.`,
		Example: "  holdfast console hash ann --role operator >>users\n  holdfast console --users users\n" +
			"  holdfast console --users users --listen :8443 --tls-cert cert.pem --tls-key key.pem",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return serve(cmd.Context(), a, f)
		},
	}
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8090", "the address to listen on")
	c.Flags().StringVar(&f.users, "users", "", "the file of users (required, but for --dev-login)")
	c.Flags().BoolVar(&f.devLogin, "dev-login", false, "for development, on loopback only: no users, but an address that "+
		"is good for one login, as the admin dev")
	c.Flags().BoolVar(&f.secured, "secure-cookies", false, "browsers reach it by TLS only, such as a proxy's")
	c.Flags().StringVar(&f.cert, "tls-cert", "", "serve TLS with this certificate, a file in PEM")
	c.Flags().StringVar(&f.key, "tls-key", "", "the certificate's key, a file in PEM")
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
	local := isLoopback(host)
	switch {
	case f.users == "" && !f.devLogin:
		return text.Usagef("say who may log in, with --users FILE: `holdfast console hash` makes its lines")
	case f.devLogin && !local:
		return text.Usagef("--dev-login is for loopback: --listen %s can be reached from elsewhere", f.listen)
	case !local && f.cert == "" && !f.secured:
		return text.Usagef("--listen %s can be reached from elsewhere, and passwords would travel as they are: add "+
			"--tls-cert and --tls-key, or --secure-cookies if a proxy in front of it does TLS", f.listen)
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serve serves the console until ctx is done.
func serve(ctx context.Context, a *frame.App, f flags) error {
	o := console.Options{DevLogin: f.devLogin, SecureCookies: f.secured || f.cert != "", Environ: a.Environ,
		Prefix: a.PrefixFlag, Log: a.Err, Now: a.Now}
	if f.users != "" {
		file, err := os.Open(f.users)
		if err != nil {
			return text.Usagef("--users: %w", err)
		}
		defer func() { _ = file.Close() }()
		o.Users = file
	}
	c, err := console.New(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return text.WithRemedy(err, "choose another address with --listen")
	}
	tell(a, f, l.Addr().String(), c.DevLogin())
	return run(ctx, l, &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}, f)
}

// tell says where the console is.
func tell(a *frame.App, f flags, address, devLogin string) {
	scheme := "http://"
	if f.cert != "" {
		scheme = "https://"
	}
	text.Printf(a.Out, "The console is at %s%s/ ; Ctrl-C ends it.\n", scheme, address)
	if devLogin != "" {
		text.Printf(a.Out, "Log in, once, at %s%s%s\n", scheme, address, devLogin)
	}
}

// stopTime is how long requests may go on once the console is told to end.
const stopTime = 10 * time.Second

// run serves until ctx is done, and then waits for the requests that are under way.
func run(ctx context.Context, l net.Listener, s *http.Server, f flags) error {
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
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	err := s.Shutdown(stopping)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	<-ended
	return err
}
