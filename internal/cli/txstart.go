package cli

import (
	"context"
	"errors"
	"fmt"

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
