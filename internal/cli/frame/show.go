package frame

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Shown is what a command shows: JSON is written of it as it is.
type Shown interface {
	// Print writes it for people to read.
	Print(w io.Writer, now time.Time) error
}

// Showing completes a command that shows the one thing that its argument means.
func (a *App) Showing(c *cobra.Command, find func(ctx context.Context, t *server.Temporal,
	id string) (Shown, error)) *cobra.Command {
	var ui string
	var asJSON bool
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if ui != "" {
			a.UI = ui
		}
		return a.WithTemporal(cmd.Context(), func(ctx context.Context, t *server.Temporal) error {
			found, err := find(ctx, t, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return text.JSON(a.Out, found)
			}
			return found.Print(a.Out, a.Now())
		})
	}
	c.Flags().StringVar(&ui, "ui", "", "base of the links to Temporal's web UI (default $HOLDFAST_TEMPORAL_UI)")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}
