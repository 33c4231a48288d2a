package setup

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Version is what `holdfast version --json` writes.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	// Tables is the version of Holdfast's tables that the program needs and makes.
	Tables int64 `json:"tables"`
	// Temporal and RabbitMQ are the versions of the client libraries.
	Temporal string `json:"temporal,omitempty"`
	RabbitMQ string `json:"rabbitmq,omitempty"`
}

// NewVersion returns the command holdfast version.
func NewVersion(a *frame.App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the program's version",
		Long: `Print the program's version, the revision it was built from, the version of
Holdfast's tables that it needs (see holdfast migrate), and those of Go and of
the client libraries of Temporal and RabbitMQ.

JSON: version, revision, modified (built from changed files), go, tables,
temporal, rabbitmq.`,
		Example: "  holdfast version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			if asJSON {
				return text.JSON(a.Out, v)
			}
			s := v.Version
			if v.Revision != "" {
				s += " (" + v.Revision
				if v.Modified {
					s += ", modified"
				}
				s += ")"
			}
			text.Printf(a.Out, "holdfast %s %s\n", s, v.Go)
			text.Printf(a.Out, "tables at version %d; client of Temporal %s, of RabbitMQ %s\n", v.Tables,
				text.OrDash(v.Temporal), text.OrDash(v.RabbitMQ))
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func buildVersion() Version {
	v := Version{Version: "unknown", Go: runtime.Version(), Tables: barrier.Latest()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "go.temporal.io/sdk":
			v.Temporal = m.Version
		case "github.com/rabbitmq/amqp091-go":
			v.RabbitMQ = m.Version
		}
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
