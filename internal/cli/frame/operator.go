package frame

import (
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
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

// maxOperator is how long an operator's name may be: longer ones are cut in histories.
const maxOperator = 200

// Check says what is missing, or cannot be recorded.
func (w Who) Check() error {
	switch {
	case w.Reason == "":
		return text.Usagef("say why, with --reason")
	case w.Operator == "":
		return text.Usagef("say who asks: set HOLDFAST_OPERATOR to a name, such as HOLDFAST_OPERATOR=ann, or add " +
			"--operator NAME; neither is given, and USER is not set")
	case workflows.ReservedOperator(w.Operator):
		return text.Usagef("the operator cannot be %q: Holdfast signs with that name what nobody asked for; give your "+
			"own, with --operator or HOLDFAST_OPERATOR", w.Operator)
	case len(w.Operator) > maxOperator || strings.IndexFunc(w.Operator, unicode.IsControl) >= 0:
		return text.Usagef("the operator's name %q is too long, or has control characters: want one line of at most %d bytes",
			text.CutText(w.Operator, 40), maxOperator)
	}
	return nil
}
