package saga

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// sagaStart is what `holdfast saga start` is told.
type sagaStart struct {
	name, group, key, data string
	version                int
	wait                   time.Duration
}

func newSagaStartCommand(a *frame.App) *cobra.Command {
	var s sagaStart
	var asJSON bool
	c := &cobra.Command{
		Use:   "start NAME --data JSON",
		Short: "Start a saga",
		Long: `Start a saga with its first state. The process that runs its first step has its
definition: the highest version that it knows, or the one that --version names.

Without --group, the running processes are asked, through RabbitMQ, which group
has a saga of that name. With --wait the exit status is 1 unless the saga has
completed in that time. Repeating the command with the same --key is safe: there
is one saga of each key.

JSON: id, group, name, key, state, step, reason, workflow_id, run_id.`,
		Example: "  holdfast saga start order-payment --key A-1007 --data '{\"number\": \"A-1007\", \"total\": 12}'\n" +
			"  holdfast saga start order-payment --group orders --data @order.json --wait 30s",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.name = args[0]
			data, err := completeStart(a, &s)
			if err != nil {
				return err
			}
			return a.WithTemporalFor(cmd.Context(), reach.DefaultTimeout+s.wait,
				func(ctx context.Context, t *server.Temporal) error {
					if s.group == "" {
						if s.group, err = sagas.GroupOf(ctx, &a.Config, s.name, s.version); err != nil {
							return err
						}
					}
					in := sagaflow.Input{ID: workflows.SagaID(t.Prefix, s.group, s.name, s.key), Group: s.group, Prefix: a.Prefix,
						Name: s.name,
						Key:  s.key, Version: s.version, Data: data, Tokens: !t.Rolling}
					if in.Data, err = t.Box.State(ctx, in.ID, data); err != nil {
						return err
					}
					got, err := sagas.Start(ctx, t, in, s.wait, a.Prefix)
					if err != nil {
						return err
					}
					if asJSON {
						err = text.JSON(a.Out, got)
					} else {
						text.Printf(a.Out, "%s\n", got.Sentence())
					}
					if err == nil && s.wait > 0 && got.State != core.StateCompleted {
						return frame.StatusError(frame.ExitError)
					}
					return err
				})
		},
	}
	flags := c.Flags()
	flags.StringVar(&s.data, "data", "", "its first state, in JSON; @FILE reads it from a file, - from the standard "+
		"input (required)")
	flags.StringVar(&s.key, "key", "", "the business key (default: a new UUIDv7)")
	flags.StringVar(&s.group, "group", "", "the producer group (default $HOLDFAST_GROUP, or the one whose processes "+
		"have it)")
	flags.IntVar(&s.version, "version", 0, "the definition's version (default: the highest)")
	flags.DurationVar(&s.wait, "wait", 0, "how long to wait until it has ended, or waits for somebody")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	_ = c.MarkFlagRequired("data") // it exists
	return c
}

// completeStart checks what the flags say, fills in what they do not, and reads
// the data.
func completeStart(a *frame.App, s *sagaStart) ([]byte, error) {
	if s.group == "" {
		s.group = a.Group
	}
	if err := holdfast.ValidateName("saga's name", s.name); err != nil {
		return nil, text.Usage(err)
	}
	if s.group != "" {
		if err := holdfast.ValidateName("group", s.group); err != nil {
			return nil, text.Usage(err)
		}
	}
	switch {
	case s.version < 0:
		return nil, text.Usagef("--version %d: want 1 or more", s.version)
	case s.wait < 0:
		return nil, text.Usagef("--wait %v: want 0 or more", s.wait)
	}
	if s.key == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		s.key = id.String()
	}
	var err error
	if s.key, err = a.Key(s.key); err != nil {
		return nil, err
	}
	if err := holdfast.ValidateSagaKey(s.key); err != nil {
		return nil, text.Usage(err)
	}
	return frame.ReadJSON(a, "--data", s.data, core.MaxData)
}
