package setup

import (
	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/consumers"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func newConsumersRemoveCommand(a *frame.App) *cobra.Command {
	var who frame.Who
	var purge int
	var asJSON bool
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "Delete the queues of a consumer that is gone on purpose",
		Long: `Delete the queues of a consumer that is gone on purpose, and their bindings. It
is refused while a process has the consumer, or remembers it and would make the
queues again: "holdfast consumers forget" first. It is refused while messages
are in the queues, unless --purge says how many: those are lost. Messages of it
that wait for a retry become dead letters.

Who did it and why is kept with the pause that it makes for that time: see
"holdfast consumers paused --past".

JSON: consumer, lost (how many messages).`,
		Example: "  holdfast consumers remove mailer --reason \"nobody sends mails any more\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			who.Complete(a)
			if err := who.Check(); err != nil {
				return err
			}
			if purge < 0 {
				return text.Usagef("--purge %d: want how many messages are in the queues", purge)
			}
			r, err := consumers.Remove(cmd.Context(), &a.Config,
				consumers.Order{Name: args[0], Operator: who.Operator, Reason: who.Reason}, purge)
			if err != nil {
				return err
			}
			if asJSON {
				return text.JSON(a.Out, r)
			}
			text.Printf(a.Out, "Consumer %s is removed, with %s.\n", r.Consumer, text.Plural(r.Lost, "message"))
			return nil
		},
	}
	who.Register(c.Flags())
	c.Flags().IntVar(&purge, "purge", 0, "lose the messages in its queues, which are so many")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func newConsumersUnbindCommand(a *frame.App) *cobra.Command {
	var who frame.Who
	c := &cobra.Command{
		Use:   "unbind NAME TOPIC",
		Short: "Remove a binding that a consumer does not want any more",
		Long: `Remove the binding of a consumer's queue to a topic that it does not listen to
any more: RabbitMQ keeps it until somebody does. Messages of the topic do not
reach the consumer any more; those that are in its queue stay. It is refused
while a process that runs listens to the topic.

"holdfast topology check" finds such bindings. Who did it and why is kept with
the pauses, though none is made: see "holdfast consumers paused --past".`,
		Example: "  holdfast consumers unbind mailer order.placed --reason \"mails come from billing now\"",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			who.Complete(a)
			if err := who.Check(); err != nil {
				return err
			}
			err := consumers.Unbind(cmd.Context(), &a.Config,
				consumers.Order{Name: args[0], Operator: who.Operator, Reason: who.Reason}, args[1])
			if err != nil {
				return err
			}
			text.Printf(a.Out, "The queue of consumer %s is not bound to %s.\n", args[0], args[1])
			return nil
		},
	}
	who.Register(c.Flags())
	return c
}
