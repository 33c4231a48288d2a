package transactions

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// Start is what `holdfast tx start` is told.
type Start struct {
	Group, Handler, BodyFile, Body string
	Headers                        []string
	Wait, NoWait                   bool
	Message                        holdfast.Message
}

// Started is what `holdfast tx start --json` writes.
type Started struct {
	Tx         string `json:"tx"`
	Group      string `json:"group"`
	State      string `json:"state"`
	Reason     string `json:"reason,omitempty"`
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
}

// Launch starts the workflow, as the group's own processes do, and waits for its
// result.
func Launch(ctx context.Context, t *server.Temporal, s Start, prefix string) (Started, error) {
	m := s.Message
	var err error
	if m.Key, err = t.Box.Key(ctx, m.Key); err == nil {
		m, err = t.Box.Message(ctx, m)
	}
	if err != nil {
		return Started{}, err
	}
	s.Message = m
	tx := activities.Tx{ID: s.Message.ID, Form: activities.Registered, Handler: s.Handler,
		Messages: []holdfast.Message{s.Message}}
	got := Started{Tx: tx.ID, Group: s.Group, State: server.StateRunning,
		WorkflowID: workflows.WorkflowID(t.Prefix, s.Group, tx.ID)}
	options := txflow.StartOptions(prefix, s.Group, tx)
	options.ID = got.WorkflowID
	run, err := t.ExecuteWorkflow(ctx, options,
		txflow.Name, txflow.Input{Group: s.Group, Prefix: prefix, Transactions: []activities.Tx{tx}})
	if err != nil {
		return got, explainStart(t, got, err)
	}
	if got.RunID = run.GetRunID(); s.NoWait || !s.Wait {
		return got, nil
	}
	return got, awaitEnd(ctx, t, run, &got, prefix)
}

func explainStart(t *server.Temporal, s Started, err error) error {
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &there) {
		return text.WithRemedy(fmt.Errorf("%w: workflow %s is there already", holdfast.ErrDuplicate, s.WorkflowID),
			"%s says how it stands; use another --id for new work", t.Code("tx show", s.WorkflowID))
	}
	return text.WithRemedy(fmt.Errorf("start workflow %s: %w", s.WorkflowID, err),
		"%s says what is missing; starting again with --id %s is safe", t.Code("doctor", "", "--group",
			s.Group), shell.Word(s.Tx))
}

// awaitEnd waits for the workflow's result.
func awaitEnd(ctx context.Context, t *server.Temporal, run client.WorkflowRun, got *Started, prefix string) error {
	var status txflow.Status
	err := run.Get(ctx, &status)
	switch {
	case server.TimedOut(err) || ctx.Err() != nil:
		return explainSilence(ctx, t, target{WorkflowID: got.WorkflowID}, prefix)
	case err != nil:
		return text.WithRemedy(fmt.Errorf("workflow %s: %w", got.WorkflowID, err), "%s says more",
			t.Code("tx show", got.WorkflowID))
	}
	for _, m := range status.Transactions {
		got.State, got.Reason = string(m.State), m.Reason
	}
	return nil
}

// Sentence says how a transaction that was started stands.
func (s Started) Sentence() string {
	line := fmt.Sprintf("Transaction %s is %s", s.Tx, s.State)
	if s.Reason != "" {
		line += ": " + s.Reason
	}
	return text.OneLine(line)
}
