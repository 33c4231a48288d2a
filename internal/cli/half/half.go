// Package half holds the commands that show what the Keepers of half queues hold: holdfast
// half stats and peek. What they read is in internal/operator/processes.
package half

import (
	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// New returns the command holdfast half.
func New(a *frame.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "half",
		Short: "Show what the Keepers of half queues hold",
		Long: `Show what the Keepers of half queues hold: half messages that no op record has
settled yet. A Keeper hands over to Temporal what stays undecided.

Processes are asked over RabbitMQ, for a second; no queue loses anything.`,
		Example: "  holdfast half stats\n  holdfast half peek orders -n 5",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return text.Usagef("say what to do: stats or peek")
		},
	}
	c.AddCommand(newHalfStatsCommand(a), newHalfPeekCommand(a))
	return c
}
