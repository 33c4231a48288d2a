package tx

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
)

func newTxStartCommand(a *frame.App) *cobra.Command {
	var s transactions.Start
	var asJSON bool
	c := &cobra.Command{
		Use:   "start --group GROUP --handler NAME --topic TOPIC",
		Short: "Start a transaction whose local transaction is a registered handler",
		Long: `Start a transaction with one message, whose local transaction is a handler that
the group's processes have registered. The check-back schedule is the default.
Repeating it with the same --id is safe: it runs once.

The exit status is 1 if the transaction does not commit.

JSON: tx, group, state, reason, workflow_id, run_id.`,
		Example: "  holdfast tx start --group orders --handler place --topic order.placed --key A-1007 --body " +
			"'{\"total\": 12}'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := completeTxStart(&s, a.In); err != nil {
				return text.Usage(err)
			}
			return a.WithTemporal(cmd.Context(), func(ctx context.Context, t *server.Temporal) error {
				got, err := transactions.Launch(ctx, t, s, a.Prefix)
				if err != nil {
					return err
				}
				if asJSON {
					err = text.JSON(a.Out, got)
				} else {
					text.Printf(a.Out, "%s\n", got.Sentence())
				}
				if err == nil && (got.State == string(workflows.RolledBack) || got.State == string(workflows.Refused)) {
					return frame.StatusError(frame.ExitError)
				}
				return err
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&s.Group, "group", "", "the producer group (required)")
	flags.StringVar(&s.Handler, "handler", "", "the registered handler's name (required)")
	flags.StringVar(&s.Message.Topic, "topic", "", "the message's topic (required)")
	flags.StringVar(&s.Message.Key, "key", "", "the message's business key")
	flags.StringVar(&s.Body, "body", "", "the message's body")
	flags.StringVar(&s.BodyFile, "body-file", "", "the file with the message's body; - is the standard input")
	flags.StringArrayVar(&s.Headers, "header", nil, "a header, as name=value; may be given again")
	flags.StringVar(&s.Message.ContentType, "content-type", "application/json", "the body's media type")
	flags.StringVar(&s.Message.ID, "id", "", "the transaction's ID (default: a new UUIDv7)")
	flags.BoolVar(&s.Wait, "wait", true, "wait for the end")
	flags.BoolVar(&s.NoWait, "no-wait", false, "do not wait for the end")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	c.MarkFlagsMutuallyExclusive("body", "body-file")
	c.MarkFlagsMutuallyExclusive("wait", "no-wait")
	for _, name := range []string{"group", "handler", "topic"} {
		_ = c.MarkFlagRequired(name) // it exists
	}
	return c
}

// completeTxStart reads the body, gives the transaction its ID, and checks it all.
func completeTxStart(s *transactions.Start, in io.Reader) error {
	var err error
	m := &s.Message
	if m.Body, err = frame.ReadBody(in, s.BodyFile, s.Body); err != nil {
		return err
	}
	if len(m.Body) > 0 && m.ContentType == holdfast.JSON.ContentType() && !json.Valid(m.Body) {
		return fmt.Errorf("the body is no JSON: say what it is with --content-type")
	}
	for _, h := range s.Headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return fmt.Errorf("--header %q: want name=value", h)
		}
		if m.Headers == nil {
			m.Headers = map[string]string{}
		}
		m.Headers[name] = value
	}
	if m.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make a transaction ID: %w", err)
		}
		m.ID = id.String()
	}
	if err := holdfast.ValidateName("group", s.Group); err != nil {
		return err
	}
	return holdfast.ValidateMessages([]holdfast.Message{*m}, 0)
}
