package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/workflows"
)

// start is what `holdfast tx start` is told.
type start struct {
	group, handler, bodyFile, body string
	headers                        []string
	wait, noWait                   bool
	message                        holdfast.Message
}

// started is what `holdfast tx start --json` writes.
type started struct {
	Tx         string `json:"tx"`
	Group      string `json:"group"`
	State      string `json:"state"`
	Reason     string `json:"reason,omitempty"`
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
}

func newTxStartCommand(a *app) *cobra.Command {
	var s start
	var asJSON bool
	c := &cobra.Command{
		Use:   "start --group GROUP --handler NAME --topic TOPIC",
		Short: "Start a transaction whose local transaction is a registered handler",
		Long: `Start a transaction with one message, whose local transaction is a handler that
the group's processes have registered. The check-back schedule is the default.
Repeating it with the same --id is safe: it runs once.

The exit status is 1 if the transaction does not commit.

JSON: tx, group, state, reason, workflow_id, run_id.`,
		Example: "  holdfast tx start --group orders --handler place --topic order.placed --key A-1007 --body '{\"total\": 12}'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := completeTxStart(&s, a.In); err != nil {
				return usageError{err}
			}
			return a.withTemporal(cmd.Context(), func(ctx context.Context, t *temporalServer) error {
				got, err := startTx(ctx, t, s, a.Prefix)
				if err != nil {
					return err
				}
				if asJSON {
					err = printJSON(a.Out, got)
				} else {
					printf(a.Out, "%s\n", got.sentence())
				}
				if err == nil && (got.State == string(workflows.RolledBack) || got.State == string(workflows.Refused)) {
					return statusError(exitError)
				}
				return err
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&s.group, "group", "", "the producer group (required)")
	flags.StringVar(&s.handler, "handler", "", "the registered handler's name (required)")
	flags.StringVar(&s.message.Topic, "topic", "", "the message's topic (required)")
	flags.StringVar(&s.message.Key, "key", "", "the message's business key")
	flags.StringVar(&s.body, "body", "", "the message's body")
	flags.StringVar(&s.bodyFile, "body-file", "", "the file with the message's body; - is the standard input")
	flags.StringArrayVar(&s.headers, "header", nil, "a header, as name=value; may be given again")
	flags.StringVar(&s.message.ContentType, "content-type", "application/json", "the body's media type")
	flags.StringVar(&s.message.ID, "id", "", "the transaction's ID (default: a new UUIDv7)")
	flags.BoolVar(&s.wait, "wait", true, "wait for the end")
	flags.BoolVar(&s.noWait, "no-wait", false, "do not wait for the end")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	c.MarkFlagsMutuallyExclusive("body", "body-file")
	c.MarkFlagsMutuallyExclusive("wait", "no-wait")
	for _, name := range []string{"group", "handler", "topic"} {
		_ = c.MarkFlagRequired(name) // it exists
	}
	return c
}

// completeTxStart reads the body, gives the transaction its ID, and checks it all.
func completeTxStart(s *start, in io.Reader) error {
	var err error
	m := &s.message
	if m.Body, err = readStartBody(s, in); err != nil {
		return err
	}
	if len(m.Body) > 0 && m.ContentType == holdfast.JSON.ContentType() && !json.Valid(m.Body) {
		return fmt.Errorf("the body is no JSON: say what it is with --content-type")
	}
	for _, h := range s.headers {
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
	if err := holdfast.ValidateName("group", s.group); err != nil {
		return err
	}
	return holdfast.ValidateMessages([]holdfast.Message{*m}, 0)
}

func readStartBody(s *start, in io.Reader) ([]byte, error) {
	switch s.bodyFile {
	case "":
		return []byte(s.body), nil
	case "-":
	default:
		f, err := os.Open(s.bodyFile)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, holdfast.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return body, nil
}

// startTx starts the workflow, as the group's own processes do, and waits for its
// result.
func startTx(ctx context.Context, t *temporalServer, s start, prefix string) (started, error) {
	tx := activities.Tx{ID: s.message.ID, Form: activities.Registered, Handler: s.handler, Messages: []holdfast.Message{s.message}}
	got := started{Tx: tx.ID, Group: s.group, State: stateRunning, WorkflowID: workflows.WorkflowID(t.ids, s.group, tx.ID)}
	options := workflows.StartOptions(prefix, s.group, tx)
	options.ID = got.WorkflowID
	run, err := t.ExecuteWorkflow(ctx, options,
		workflows.Name, workflows.Input{Group: s.group, Prefix: prefix, Transactions: []activities.Tx{tx}})
	if err != nil {
		return got, explainStart(t, got, err)
	}
	if got.RunID = run.GetRunID(); s.noWait || !s.wait {
		return got, nil
	}
	return got, awaitEnd(ctx, t, run, &got, prefix)
}

func explainStart(t *temporalServer, s started, err error) error {
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &there) {
		return withRemedy(fmt.Errorf("%w: workflow %s is there already", holdfast.ErrDuplicate, s.WorkflowID),
			"%s says how it stands; use another --id for new work", t.code("tx show", s.WorkflowID))
	}
	return withRemedy(fmt.Errorf("start workflow %s: %w", s.WorkflowID, err),
		"%s says what is missing; starting again with --id %s is safe", t.code("doctor", "", "--group", s.Group), shell.Word(s.Tx))
}

// awaitEnd waits for the workflow's result.
func awaitEnd(ctx context.Context, t *temporalServer, run client.WorkflowRun, got *started, prefix string) error {
	var status workflows.Status
	err := run.Get(ctx, &status)
	switch {
	case timedOut(err) || ctx.Err() != nil:
		return explainSilence(ctx, t, target{workflowID: got.WorkflowID}, prefix)
	case err != nil:
		return withRemedy(fmt.Errorf("workflow %s: %w", got.WorkflowID, err), "%s says more", t.code("tx show", got.WorkflowID))
	}
	for _, m := range status.Transactions {
		got.State, got.Reason = string(m.State), m.Reason
	}
	return nil
}

func (s started) sentence() string {
	line := fmt.Sprintf("Transaction %s is %s", s.Tx, s.State)
	if s.Reason != "" {
		line += ": " + s.Reason
	}
	return oneLine(line)
}
