package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

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

// ReservedOperator reports whether Holdfast itself signs with this name what no
// operator asked for: a policy, a timeout, or Temporal's request to cancel. An
// operator with the name could not be told from it in a history, and what is signed so
// may be judged by it.
func ReservedOperator(name string) bool {
	name = strings.TrimSpace(name)
	for _, own := range []string{PolicyOperator, TimeoutOperator, CancelOperator} {
		if strings.EqualFold(name, own) {
			return true
		}
	}
	return false
}

// ErrNobodyAsks refuses what nobody answers for.
var ErrNobodyAsks = errors.New(`say who asks and why: {"operator": "…", "reason": "…"}`)

// RefuseReserved refuses an operator's name that is Holdfast's own. It is for the
// validators of Updates, which do not run in a replay.
func RefuseReserved(operator string) error {
	if ReservedOperator(operator) {
		return fmt.Errorf("the operator cannot be %q: Holdfast signs with that name what nobody asked for", operator)
	}
	return nil
}

// RefuseReservedSignal is RefuseReserved for a signal; one that was taken before this
// was looked at is taken again in a replay. Sagas take such signals: a saga's timeout
// sends one to the saga that is its step.
func RefuseReservedSignal(ctx workflow.Context, operator string) error {
	if !ReservedOperator(operator) || workflow.GetVersion(ctx, "refuse reserved operators", workflow.DefaultVersion, 1) ==
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
