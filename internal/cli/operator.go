package cli

import (
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/workflows"
)

// who is who asks for an action, and why, as the flags say.
type who struct{ operator, reason string }

func (w *who) register(flags *pflag.FlagSet) {
	flags.StringVar(&w.reason, "reason", "", "why; recorded (required)")
	flags.StringVar(&w.operator, "operator", "", "who asks; recorded (default $HOLDFAST_OPERATOR, or $USER)")
}

// complete says who asks where the flag does not: the environment, or the user.
func (w *who) complete(a *app) {
	w.operator, w.reason = strings.TrimSpace(w.operator), strings.TrimSpace(w.reason)
	for _, name := range []string{a.Operator, a.User} {
		if w.operator == "" {
			w.operator = strings.TrimSpace(name)
		}
	}
}

// maxOperator is how long an operator's name may be: longer ones are cut in histories.
const maxOperator = 200

// check says what is missing, or cannot be recorded.
func (w who) check() error {
	switch {
	case w.reason == "":
		return usagef("say why, with --reason")
	case w.operator == "":
		return usagef("say who asks: set HOLDFAST_OPERATOR to a name, such as HOLDFAST_OPERATOR=ann, or add --operator NAME; neither is given, and USER is not set")
	case workflows.ReservedOperator(w.operator):
		return usagef("the operator cannot be %q: Holdfast signs with that name what nobody asked for; give your own, with --operator or HOLDFAST_OPERATOR", w.operator)
	case len(w.operator) > maxOperator || strings.IndexFunc(w.operator, unicode.IsControl) >= 0:
		return usagef("the operator's name %q is too long, or has control characters: want one line of at most %d bytes", cutText(w.operator, 40), maxOperator)
	}
	return nil
}
