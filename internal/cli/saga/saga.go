// Package saga holds the commands on sagas: holdfast saga list, show, start, diagram, and
// those that steer them. What they do is in internal/operator/sagas.
package saga

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// New returns the command holdfast saga.
func New(a *frame.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "saga",
		Short: "List, show, start and steer sagas",
		Long: `List, show, start and steer sagas. Each is a workflow, saga/GROUP/NAME/KEY.
One that is undone after its end has a second one, saga/GROUP/NAME/KEY/undo:
both are one saga here, and its state is that of the second.

An ID is such a workflow's ID, NAME/KEY, or a key alone if only one saga has it.
Without --group, the latter two are looked for among the groups and names of the
1000 latest sagas, and in what Temporal has listed.

A saga that ended well in the Express lane has no workflow. Named by its full
ID, or by NAME/KEY with --group, it is given one, if DATABASE_URL is its group's
database: one that ends at once, and does nothing again.

States: running; waiting (for an answer), paused (by an operator), no-worker (no
process has its version), parked (a step failed for good: it waits for an
operator), compensating, compensation-failed (a step could not be undone: it
waits for an operator); completed, compensated; and failed, terminated,
canceled, timed-out, where the workflow itself was ended from outside: what such
a saga did is not undone until it is compensated.`,
		Example: "  holdfast saga list --state parked,compensation-failed\n  holdfast saga show A-1007\n" +
			"  holdfast saga retry order-payment/A-1007 --reason \"the card works again\"\n" +
			"  holdfast saga compensate A-1007 --reason \"the customer changed their mind\"",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return text.Usagef("say what to do: list, show, start, pause, resume, retry, skip, compensate, answer or diagram")
		},
	}
	c.AddCommand(newSagaListCommand(a), newSagaShowCommand(a), newSagaStartCommand(a), newSagaDiagramCommand(a))
	for _, act := range sagas.Acts {
		c.AddCommand(newSagaActCommand(a, act))
	}
	return c
}

// sagaFlags are the flags that say which sagas are meant.
type sagaFlags struct {
	frame.Which
	group, name, key string
}

func (s *sagaFlags) register(flags *pflag.FlagSet, limit int, limitHelp, stateHelp string) {
	flags.StringVar(&s.group, "group", "", "only this producer group's")
	flags.StringVar(&s.name, "name", "", "only sagas of this name")
	flags.StringVar(&s.key, "key", "", "only those with this business key")
	s.Which.Register(flags, "began", limit, limitHelp, stateHelp)
}

// narrows reports whether anything of this noun but the group is given.
func (s *sagaFlags) narrows() bool {
	return s.name != "" || s.key != ""
}

// filter is what the flags mean now.
func (s *sagaFlags) filter(a *frame.App) (sagas.Filter, error) {
	key, err := a.Key(s.key)
	if err != nil {
		return sagas.Filter{}, err
	}
	f := sagas.Filter{Prefix: a.Prefix, Group: s.group, Name: s.name, Key: key, States: s.States}
	f.Before, f.After, err = s.Window(a.Now())
	return frame.Checked(f, err)
}
