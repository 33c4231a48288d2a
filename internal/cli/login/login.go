// Package login holds the commands holdfast login and holdfast logout: the command line acts
// through the console then, under a name that the console has authenticated.
package login

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
)

// limit is how long the console may take.
const limit = 15 * time.Second

// New returns the command holdfast login.
func New(a *frame.App) *cobra.Command {
	return &cobra.Command{
		Use:   "login URL",
		Short: "Act through the console, under the name of your login there",
		Long: `Log the command line in at the console at URL. Make a token on the console's
page Tokens, and paste it: it is the first line of the standard input, and not
shown at a terminal.

From then on, what you do to transactions, dead letters and sagas goes through
the console: it does it, signs it with the name of your login there, and has it
in its audit. The command line itself still needs Temporal, to find and show
them. Without a login, or with --operator, it acts by itself, and the name is
recorded as claimed.

The token is kept in login.json below your configuration directory, or where
HOLDFAST_LOGIN says, in a file that only you can read. It ends with your login's
time at the console, 12 hours at most, with the console's process, or when it
is revoked: on the page Tokens, or by holdfast logout.`,
		Example: "  holdfast login https://console.example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return logIn(cmd.Context(), a, strings.TrimSuffix(args[0], "/"))
		},
	}
}

func logIn(ctx context.Context, a *frame.App, console string) error {
	if err := vouch.CheckConsole(console); err != nil {
		return err
	}
	path, err := vouch.File(a.LoginPath)
	if err != nil {
		return err
	}
	text.Printf(a.Err, "Make a token at %s/tokens, and paste it here.\n", console)
	token, err := frame.ReadSecret(a, "Token")
	if err != nil {
		return err
	}
	if token = strings.TrimSpace(token); token == "" {
		return text.Usagef("no token was given: it is the first line of the standard input")
	}
	l := vouch.Login{Console: console, Token: token}
	ctx, cancel := a.Bounded(ctx, limit)
	defer cancel()
	whose, err := vouch.NewClient(l).Who(ctx)
	if err != nil {
		return err
	}
	l.Operator, l.Until = whose.Operator, whose.Until
	if err := vouch.Save(path, l); err != nil {
		return text.WithRemedy(err, "set HOLDFAST_LOGIN to a file that can be written")
	}
	text.Printf(a.Out, "You act as %s, until %s.\n", text.OneLine(l.Operator), text.Clock(l.Until, a.Now()))
	return nil
}

// NewLogout returns the command holdfast logout.
func NewLogout(a *frame.App) *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Revoke the login of holdfast login, and forget it",
		Long: `Have the console revoke the token of holdfast login, and forget it. Where the
console is not reached, it is forgotten only: the token then ends by itself, or
on the console's page Tokens.`,
		Example: "  holdfast logout",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return logOut(cmd.Context(), a) },
	}
}

func logOut(ctx context.Context, a *frame.App) error {
	path, err := vouch.File(a.LoginPath)
	if err != nil {
		return err
	}
	l, ok, err := vouch.LoadToRevoke(path)
	if err != nil {
		return err
	}
	if !ok {
		text.Printf(a.Out, "Nobody is logged in.\n")
		return nil
	}
	ctx, cancel := a.Bounded(ctx, limit)
	defer cancel()
	revoked := vouch.NewClient(l).End(ctx)
	if err := vouch.Remove(path); err != nil {
		return err
	}
	if revoked != nil {
		what, _ := text.SplitRemedy(revoked)
		return text.WithRemedy(fmt.Errorf("the login is forgotten here, and may not be revoked: %s", what),
			"revoke the token at %s/tokens", l.Console)
	}
	text.Printf(a.Out, "Logged out of %s.\n", l.Console)
	return nil
}
