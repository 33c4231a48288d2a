package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// shown is what a command shows: JSON is written of it as it is.
type shown interface {
	// print writes it for people to read.
	print(w io.Writer, now time.Time) error
}

// showing completes a command that shows the one thing that its argument means.
func (a *app) showing(c *cobra.Command, find func(ctx context.Context, t *temporalServer, id string) (shown, error)) *cobra.Command {
	var ui string
	var asJSON bool
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if ui != "" {
			a.UI = ui
		}
		return a.withTemporal(cmd.Context(), func(ctx context.Context, t *temporalServer) error {
			found, err := find(ctx, t, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Out, found)
			}
			return found.print(a.Out, a.Now())
		})
	}
	c.Flags().StringVar(&ui, "ui", "", "base of the links to Temporal's web UI (default $HOLDFAST_TEMPORAL_UI)")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}
