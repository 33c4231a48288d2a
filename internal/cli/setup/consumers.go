package setup

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// NewConsumers returns the command holdfast consumers.
func NewConsumers(a *frame.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "consumers",
		Short: "Pause consumers by hand; list those that a group remembers, forget one",
		Long: `Pause consumers by hand and have them go on, for which RabbitMQ is enough.

Or list the consumers that the processes of a producer group have seen, or
forget one. They are kept in the group's database, so that their queues and
bindings can be made again when RabbitMQ has lost them.`,
		Example: "  holdfast consumers paused\n  holdfast consumers list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return text.Usagef("say what to do: pause, resume, paused, list, forget, remove or unbind")
		},
	}
	c.AddCommand(newConsumersPauseCommand(a), newConsumersResumeCommand(a), newConsumersPausedCommand(a),
		newConsumersListCommand(a), newConsumersForgetCommand(a), newConsumersRemoveCommand(a),
		newConsumersUnbindCommand(a))
	return c
}

func newConsumersListCommand(a *frame.App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the consumers that a producer group remembers",
		Long: `List the consumers that are kept in the database at DATABASE_URL.

JSON: an array of name, topics, seen (how long ago, in nanoseconds), remade (how
long ago its queue was missing and made again), what (what happened then).`,
		Example: "  holdfast consumers list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithDatabase(cmd.Context(), func(ctx context.Context, db *gorm.DB) error {
				known, err := barrier.KnownConsumers(ctx, db, a.Prefix)
				if err != nil {
					return err
				}
				if asJSON {
					return text.JSON(a.Out, known)
				}
				t := text.NewTable(a.Out)
				t.Row("CONSUMER", "SEEN", "TOPICS")
				for _, k := range known {
					t.Row(k.Name, text.Age(k.Seen)+" ago", strings.Join(k.Topics, " "))
				}
				return t.Flush()
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func newConsumersForgetCommand(a *frame.App) *cobra.Command {
	return &cobra.Command{
		Use:   "forget NAME",
		Short: "Forget a consumer that is gone on purpose",
		Long: `Forget a consumer that is gone on purpose: its queue is not made again when it
is missing. Processes of the group follow within some minutes. The queue itself,
if it is there, stays, and gathers messages: see "holdfast consumers remove". A
consumer that runs is remembered again.`,
		Example: "  holdfast consumers forget mailer",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := holdfast.ValidateName("consumer", args[0]); err != nil {
				return text.Usage(err)
			}
			return a.WithDatabase(cmd.Context(), func(ctx context.Context, db *gorm.DB) error {
				was, err := barrier.ForgetConsumer(ctx, db, a.Prefix, args[0])
				switch {
				case err != nil:
					return err
				case !was:
					return text.WithRemedy(fmt.Errorf("consumer %s is not remembered", args[0]),
						"see %s, and check --prefix and DATABASE_URL", a.Suggester().Code("consumers list", ""))
				}
				text.Printf(a.Out, "Consumer %s is forgotten.\n", args[0])
				return nil
			})
		},
	}
}
