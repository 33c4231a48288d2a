package frame

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
	"github.com/holdfastmq/holdfast/workflows"
)

// Who is who asks for an action, and why, as the flags say.
type Who struct {
	// Operator is who signs. Once Complete was called, it says that the name is claimed.
	Operator, Reason string
	claims           string // the name itself
	// Via is the console that does it, and signs; nil: nobody is logged in there, or the
	// operator was named.
	Via     *vouch.Client
	vouched bool  // the console may do it
	err     error // why the login does not count
}

// Register adds the flags.
func (w *Who) Register(flags *pflag.FlagSet) {
	flags.StringVar(&w.Reason, "reason", "", "why; recorded (required)")
	flags.StringVar(&w.Operator, "operator", "", "who asks; recorded as claimed (default $HOLDFAST_OPERATOR or $USER; "+
		"required where holdfast login is in effect)")
}

// Complete says who asks where the flag does not: the environment, or the user.
func (w *Who) Complete(a *App) {
	w.Operator, w.Reason = strings.TrimSpace(w.Operator), strings.TrimSpace(w.Reason)
	if w.Operator == "" {
		w.logIn(a)
	}
	for _, name := range []string{a.Operator, a.User} {
		if w.Operator == "" {
			w.Operator = strings.TrimSpace(name)
		}
	}
	if w.claims = w.Operator; w.claims != "" {
		w.Operator = workflows.Claimed(w.claims)
	}
}

// logIn finds out whether the command line is logged in at a console.
func (w *Who) logIn(a *App) {
	path, err := vouch.File(a.LoginPath)
	if err != nil {
		return // nobody can have logged in
	}
	l, ok, err := vouch.Load(path)
	switch {
	case err == nil && !ok && a.LoginPath == "":
		return
	case !w.vouched: // who has logged in must not be recorded as claimed without a word
		w.err = text.Usagef("you are logged in at a console, and this acts by itself: add --operator NAME, which is " +
			"recorded as claimed")
	case err == nil && !ok:
		w.err = text.WithRemedy(fmt.Errorf("HOLDFAST_LOGIN names %s, which is not there: nobody is logged in", path),
			"log in with `holdfast login`; or unset HOLDFAST_LOGIN or add --operator NAME, and what you do is recorded "+
				"as claimed")
	case err != nil:
		w.err = err
	default:
		w.Via = vouch.NewClient(l)
	}
}

// Check says what is missing, or cannot be recorded.
func (w Who) Check() error {
	switch {
	case w.Reason == "":
		return text.Usagef("say why, with --reason")
	case w.err != nil:
		return w.err
	case w.Via != nil:
		return nil
	case w.Operator == "":
		return text.Usagef("say who asks: set HOLDFAST_OPERATOR to a name, such as HOLDFAST_OPERATOR=ann, or add " +
			"--operator NAME; neither is given, and USER is not set")
	}
	err := actions.CheckOperator(w.claims)
	switch {
	case errors.Is(err, actions.ErrReserved):
		return text.Usagef("%w; give your own, with --operator or HOLDFAST_OPERATOR", err)
	case err != nil:
		return text.Usage(err)
	}
	return nil
}
