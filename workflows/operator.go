package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/internal/shell"
)

// UpdateCompensate is the name of the Update, and of the signal, by which an operator
// has a dead letter compensated or a saga undone. The other actions' names are where
// their workflows are.
const UpdateCompensate = "compensate"

// Who asks for what no operator asked for.
const (
	PolicyOperator  = "policy"   // a dead letter's policy
	TimeoutOperator = "timeout"  // compensates a sub-saga that takes longer than its step's timeout
	CancelOperator  = "Temporal" // a request to cancel the workflow
)

// MaxOperator is how many bytes an operator's name may have: with its mark, it is not cut
// in histories.
const MaxOperator = 160

// Claimed is the name of an operator who says of himself who he is, as histories and audit
// have it. A name without a mark is claimed, too: an older version, or Temporal's own
// tools, recorded it.
func Claimed(name string) string { return name + claimedMark }

// Authenticated is the name of an operator whom the console has authenticated: by a file of
// users, by OpenID Connect, and so on.
func Authenticated(name, by string) string { return name + authenticatedMark + by + ")" }

const claimedMark, authenticatedMark = " (claimed)", " (authenticated by "

// Marked reports whether a name has a mark, or what looks like one.
func Marked(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "(claimed") || strings.Contains(name, "(authenticated")
}

// CheckOperator says why nobody can act under a name: what a person, a program or a login
// says of itself, without a mark.
func CheckOperator(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("the operator's name is empty")
	case ReservedOperator(name):
		return fmt.Errorf("the operator cannot be %q: %w", name, ErrReserved)
	case Marked(name):
		return fmt.Errorf("the operator cannot be %q: Holdfast itself adds whether a name is claimed or authenticated", name)
	case len(name) > MaxOperator || !utf8.ValidString(name) || strings.ContainsFunc(name, unseen) ||
		strings.ContainsFunc(name, blank):
		return fmt.Errorf("the operator's name %q is too long, or has characters that are not seen: want one line of "+
			"at most %d bytes", Clip(name, 40), MaxOperator)
	}
	return nil
}

// unseen reports whether a character shows nothing of itself, or turns what is around it.
func unseen(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) || r != ' ' && unicode.IsSpace(r) }

// blank reports whether a character counts as graphic, and shows nothing. Validators of Updates and
// signals do not ask this: what they took before, they take in a replay.
func blank(r rune) bool {
	const brailleBlank = '\u2800'
	return r == brailleBlank || unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// ErrReserved refuses a name that Holdfast itself signs with.
var ErrReserved = errors.New("Holdfast signs with that name what nobody asked for")

// ReservedOperator reports whether Holdfast itself signs with this name what no
// operator asked for: a policy, a timeout, or Temporal's request to cancel; or whether it
// could be taken for such a name. An operator with the name could not be told from it in a
// history, and what is signed so may be judged by it.
func ReservedOperator(name string) bool {
	shown := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unseen(r) {
			return -1
		}
		return r
	}, name))
	return firstReserved(name) || isOneOf(shown, PolicyOperator, TimeoutOperator, CancelOperator, "holdfast", "system")
}

// firstReserved is ReservedOperator as it was at first.
func firstReserved(name string) bool {
	return isOneOf(strings.TrimSpace(name), PolicyOperator, TimeoutOperator, CancelOperator)
}

func isOneOf(name string, all ...string) bool {
	return slices.ContainsFunc(all, func(own string) bool { return strings.EqualFold(name, own) })
}

// ErrNobodyAsks refuses what nobody answers for.
var ErrNobodyAsks = errors.New(`say who asks and why: {"operator": "…", "reason": "…"}`)

// RefuseReserved refuses an operator's name that is Holdfast's own. It is for the
// validators of Updates, which do not run in a replay.
func RefuseReserved(operator string) error {
	if ReservedOperator(operator) {
		return fmt.Errorf("the operator cannot be %q: %w", operator, ErrReserved)
	}
	return nil
}

// RefuseReservedSignal is RefuseReserved for a signal; one that was taken before this
// was looked at is taken again in a replay. Sagas take such signals: a saga's timeout
// sends one to the saga that is its step.
func RefuseReservedSignal(ctx workflow.Context, operator string) error {
	change := "refuse reserved operators"
	if !firstReserved(operator) {
		change += ", too" // those that came later
	}
	if !ReservedOperator(operator) || workflow.GetVersion(ctx, change, workflow.DefaultVersion, 1) ==
		workflow.DefaultVersion {
		return nil
	}
	return RefuseReserved(operator)
}

// ActCommand is a command line, in backticks, by which an operator acts on the
// workflow id. It names the prefix where that is not the default one: whoever reads an
// alert may have another one set.
func ActCommand(prefix, command, id string, flags ...string) string {
	flags = append(flags, "--reason", shell.Text)
	if prefix = cmp.Or(prefix, DefaultPrefix); prefix != DefaultPrefix {
		flags = append(flags, "--prefix", prefix)
	}
	return "`" + shell.Holdfast(command, id, flags...) + "`"
}
