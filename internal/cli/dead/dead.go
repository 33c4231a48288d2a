// Package dead holds the commands on dead letters: holdfast dead list, show, redeliver,
// compensate, discard and restart. What they do is in internal/operator/deadletters.
package dead

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// New returns the command holdfast dead.
func New(a *frame.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "dead",
		Short: "List, show and settle dead letters",
		Long: `List, show and settle dead letters: messages whose consumer gave up. Each is a
workflow, dead/CONSUMER/MESSAGE, that is open until the message was handled,
compensated or discarded.

An ID is such a workflow's ID, a message's ID or a business key. A message's ID
says nothing of the consumer: where several gave it up, add --consumer.

States: parked (waits for an operator), waits (for its policy's next
redelivery), redelivering, compensating; handled, compensated, discarded; and
failed, terminated, canceled, timed-out, where the workflow itself was ended
from outside: such a letter is lost until it is started again, which every
action on it does first.`,
		Example: "  holdfast dead list --consumer payments\n  holdfast dead list --group-by error\n" +
			"  holdfast dead show A-1007\n" +
			"  holdfast dead redeliver --consumer payments --class timeout --reason \"the ledger is back\"",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return text.Usagef("say what to do: list, show, redeliver, compensate, discard or restart")
		},
	}
	c.AddCommand(newDeadListCommand(a), newDeadShowCommand(a))
	for _, act := range deadletters.Acts {
		c.AddCommand(newDeadActCommand(a, act))
	}
	return c
}

// deadFlags are the flags that say which dead letters are meant.
type deadFlags struct {
	frame.Which
	consumer, topic, key, class, errorText string
}

func (d *deadFlags) register(flags *pflag.FlagSet, limit int, limitHelp, stateHelp string) {
	flags.StringVar(&d.consumer, "consumer", "", "only this consumer's; for what has none, its queue's name")
	flags.StringVar(&d.topic, "topic", "", "only messages of this topic")
	flags.StringVar(&d.key, "key", "", "only messages with this business key")
	flags.StringVar(&d.class, "class", "", "only those whose last attempt failed so: error, timeout, panic, lost, "+
		"permanent, malformed, dropped")
	flags.StringVar(&d.errorText, "error", "", "only those whose last error has this text, as it is or as --group-by "+
		"error shows it")
	d.Which.Register(flags, "came", limit, limitHelp, stateHelp)
}

// narrows reports whether anything of this noun but the consumer is given.
func (d *deadFlags) narrows() bool {
	return d.topic != "" || d.key != "" || d.class != "" || d.errorText != ""
}

// filter is what the flags mean now.
func (d *deadFlags) filter(a *frame.App) (deadletters.Filter, error) {
	key, err := a.Key(d.key)
	if err != nil {
		return deadletters.Filter{}, err
	}
	f := deadletters.Filter{Prefix: a.Prefix, Consumer: d.consumer, Topic: d.topic, Key: key, Class: d.class,
		ErrorText: d.errorText, States: d.States}
	f.Before, f.After, err = d.Window(a.Now())
	return frame.Checked(f, err)
}
