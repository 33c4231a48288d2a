package dev

import (
	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/demo"
)

// NewDemo returns the command holdfast demo.
func NewDemo(a *frame.App) *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use:   "demo [--keep]",
		Short: "Run the order-payment example through everything that can go wrong",
		Long: `Run the order-payment example through everything that can go wrong with a
transactional message and with a saga, on real parts and with processes that are
really killed, and compare what the databases hold with what was expected.

The parts are started privately, unless AMQP_URL, DATABASE_URL and
TEMPORAL_ADDRESS name others. The example is built with go, so this command runs
inside Holdfast's repository. The last line says how many scenarios ended as
expected, and so does the exit status.`,
		Example: "  holdfast demo\n  holdfast demo --keep",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			good, err := demo.Run(cmd.Context(), demo.Options{Out: a.Out, Keep: keep})
			if err == nil && !good {
				err = frame.StatusError(frame.ExitError) // the table has said why
			}
			return err
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "leave everything up until Ctrl-C, serve the console, and print the links "+
		"to each transaction in the Temporal UI")
	return c
}
