package frame

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Who is who asks for an action, and why, as the flags say.
type Who struct{ Operator, Reason string }

// Register adds the flags.
func (w *Who) Register(flags *pflag.FlagSet) {
	flags.StringVar(&w.Reason, "reason", "", "why; recorded (required)")
	flags.StringVar(&w.Operator, "operator", "", "who asks; recorded (default $HOLDFAST_OPERATOR, or $USER)")
}

// Complete says who asks where the flag does not: the environment, or the user.
func (w *Who) Complete(a *App) {
	w.Operator, w.Reason = strings.TrimSpace(w.Operator), strings.TrimSpace(w.Reason)
	for _, name := range []string{a.Operator, a.User} {
		if w.Operator == "" {
			w.Operator = strings.TrimSpace(name)
		}
	}
}

// Check says what is missing, or cannot be recorded.
func (w Who) Check() error {
	switch {
	case w.Reason == "":
		return text.Usagef("say why, with --reason")
	case w.Operator == "":
		return text.Usagef("say who asks: set HOLDFAST_OPERATOR to a name, such as HOLDFAST_OPERATOR=ann, or add " +
			"--operator NAME; neither is given, and USER is not set")
	}
	err := actions.CheckOperator(w.Operator)
	switch {
	case errors.Is(err, actions.ErrReserved):
		return text.Usagef("%w; give your own, with --operator or HOLDFAST_OPERATOR", err)
	case err != nil:
		return text.Usage(err)
	}
	return nil
}
