package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/broker"
)

func newHalfCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "half",
		Short: "Show what the Keepers of half queues hold",
		Long: `Show what the Keepers of half queues hold: half messages that no op record has
settled yet. A Keeper hands over to Temporal what stays undecided.

Processes are asked over RabbitMQ, for a second; no queue loses anything.`,
		Example: "  holdfast half stats\n  holdfast half peek orders -n 5",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("say what to do: stats or peek")
		},
	}
	c.AddCommand(newHalfStatsCommand(a), newHalfPeekCommand(a))
	return c
}

// withBroker connects to RabbitMQ, and runs f within the command's time limit.
func (a *app) withBroker(ctx context.Context, f func(context.Context, *broker.Broker) error) error {
	if a.AMQPURL == "" {
		return withRemedy(errors.New("no address of RabbitMQ"), "set AMQP_URL, for example to amqp://user:password@host:5672/vhost")
	}
	ctx, cancel := a.bounded(ctx, defaultTimeout)
	defer cancel()
	b, err := broker.Open(ctx, broker.Options{URL: a.AMQPURL, Prefix: a.Prefix, RollingUpgrade: a.RollingUpgrade, Name: "holdfast half"})
	if err != nil {
		return err
	}
	defer func() { _ = b.Close(ctx) }() // nothing was published
	return f(ctx, b)
}
