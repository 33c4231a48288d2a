package sagas

import (
	"context"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// undo starts the workflow that undoes a saga which has ended. That somebody else
// does the same is no error.
func (b *Batch) undo(ctx context.Context, r Row) actions.Outcome {
	ctx, cancel := context.WithTimeout(ctx, b.Answer)
	defer cancel()
	in, note, err := UndoInput(ctx, b.T, r, b.Prefix)
	if err != nil {
		return actions.Outcome{Outcome: actions.Refused, State: r.State, Detail: text.Of(err)}
	}
	in.Undo.Operator, in.Undo.Reason = b.Req.Operator, b.Req.Reason
	options := sagaflow.UndoOptions(b.Prefix, in)
	_, err = b.T.ExecuteWorkflow(ctx, options, sagaflow.Name, in)
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	if err != nil && !errors.As(err, &there) {
		o := b.Explain(actions.Outcome{}, err, r.State, b.T.Code("saga show", r.ID))
		o.WorkflowID = options.ID
		return o
	}
	b.Silent.Store(0)
	return actions.Outcome{Outcome: actions.Undoing, State: core.StateCompensating, WorkflowID: options.ID, Detail: note,
		Pending: true}
}

// UndoInput is the input of the workflow that undoes a saga which has ended, with
// what its last run knew, and what is to be said of that.
func UndoInput(ctx context.Context, t *server.Temporal, r Row, prefix string) (in sagaflow.Input,
	note string, err error) {
	var began sagaflow.Input
	if err := t.InputOf(ctx, r.WorkflowID, r.RunID, &began); err != nil {
		return in, "", err
	}
	var known sagaflow.Status
	lost := r.status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	if lost {
		if t.AskStatus(ctx, r.WorkflowID, r.RunID, &known) != nil || known.Core.Phase == "" {
			known, note = knownAtStart(ctx, t, r, began), "no process could tell how far it came: all of its steps are "+
				"undone, with the state that is recorded"
		}
	} else if err := t.ReadResult(ctx, r.WorkflowID, r.RunID, &known); err != nil {
		return in, "", fmt.Errorf("its result cannot be read: %w", err)
	}
	in = sagaflow.Input{ID: r.ID, Group: r.Group, Prefix: prefix, Name: r.Name, Key: r.Key,
		Data: began.Data, Database: began.Database, Tokens: !t.Rolling, StepNames: !t.Rolling}
	in = sagaflow.UndoInput(in, known, sagaflow.UndoOf{RunID: r.OwnRun, Terminated: lost})
	return in, note, nil
}

// knownAtStart is what a saga's history tells without a process: where its last
// run began.
func knownAtStart(ctx context.Context, t *server.Temporal, r Row, began sagaflow.Input) sagaflow.Status {
	if began.Resumed != nil {
		return *began.Resumed
	}
	s := sagaflow.Status{ID: r.ID, Group: r.Group, Name: r.Name, Key: r.Key, Version: began.Version,
		State: core.StateRunning,
		Core:  core.State{Phase: core.Forwards, Data: began.Data, Steps: map[string]*core.StepState{}}}
	if p := planOf(ctx, t, r, began); p != nil {
		s.Plan, s.Version = *p, p.Version
	}
	return s
}
