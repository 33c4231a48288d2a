package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// undo starts the workflow that undoes a saga which has ended. That somebody else
// does the same is no error.
func (b *sagaBatch) undo(ctx context.Context, r sagaRow) outcome {
	ctx, cancel := context.WithTimeout(ctx, b.answer)
	defer cancel()
	in, note, err := undoInput(ctx, b.t, r, b.prefix)
	if err != nil {
		return outcome{Outcome: isRefused, State: r.State, Detail: text(err)}
	}
	in.Undo.Operator, in.Undo.Reason = b.req.Operator, b.req.Reason
	options := workflows.SagaUndoOptions(b.prefix, in)
	_, err = b.t.ExecuteWorkflow(ctx, options, workflows.SagaName, in)
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	if err != nil && !errors.As(err, &there) {
		o := b.explain(outcome{}, err, r.State, b.t.code("saga show", r.ID))
		o.WorkflowID = options.ID
		return o
	}
	b.silent.Store(0)
	return outcome{Outcome: isUndoing, State: core.StateCompensating, WorkflowID: options.ID, Detail: note, pending: true}
}

// undoInput is the input of the workflow that undoes a saga which has ended, with
// what its last run knew, and what is to be said of that.
func undoInput(ctx context.Context, t *temporalServer, r sagaRow, prefix string) (in workflows.SagaInput, note string, err error) {
	var began workflows.SagaInput
	if err := t.inputOf(ctx, r.WorkflowID, r.RunID, &began); err != nil {
		return in, "", err
	}
	var known workflows.SagaStatus
	lost := r.status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	if lost {
		if t.askStatus(ctx, r.WorkflowID, r.RunID, &known) != nil || known.Core.Phase == "" {
			known, note = knownAtStart(ctx, t, r, began), "no process could tell how far it came: all of its steps are undone, with the state that is recorded"
		}
	} else if err := t.readResult(ctx, r.WorkflowID, r.RunID, &known); err != nil {
		return in, "", fmt.Errorf("its result cannot be read: %w", err)
	}
	in = workflows.SagaInput{ID: r.ID, Group: r.Group, Prefix: prefix, Name: r.Name, Key: r.Key, Version: known.Version, Data: began.Data, Database: cmp.Or(known.Database, began.Database),
		Undo: &workflows.SagaUndoOf{RunID: r.run, Terminated: lost}, Resumed: &known, Tokens: !t.rolling, StepNames: !t.rolling, Content: known.Content}
	if len(known.Plan.Steps) > 0 {
		plan := known.Plan
		in.Plan, known.Plan = &plan, core.Plan{} // once: Temporal takes 2 MiB
	}
	if len(known.Core.Data) > 0 {
		in.Data = nil
	}
	known.Answers, known.Since, known.Actions = nil, nil, nil // they ended with it
	return in, note, nil
}

// knownAtStart is what a saga's history tells without a process: where its last
// run began.
func knownAtStart(ctx context.Context, t *temporalServer, r sagaRow, began workflows.SagaInput) workflows.SagaStatus {
	if began.Resumed != nil {
		return *began.Resumed
	}
	s := workflows.SagaStatus{ID: r.ID, Group: r.Group, Name: r.Name, Key: r.Key, Version: began.Version, State: core.StateRunning,
		Core: core.State{Phase: core.Forwards, Data: began.Data, Steps: map[string]*core.StepState{}}}
	if p := planOf(ctx, t, r, began); p != nil {
		s.Plan, s.Version = *p, p.Version
	}
	return s
}
