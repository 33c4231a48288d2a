package sagahandle

import (
	"context"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// Steer has the saga's workflow do what is asked for: its own, or the one that
// undoes it after its end.
func (h *Handles) Steer(ctx context.Context, id, action string, req sagas.Request) error {
	ctx, cancel := h.o.Bounded(ctx)
	defer cancel()
	if err := h.o.Gate.AwaitRunning(ctx); err != nil {
		return err
	}
	if h.takeOut(ctx, id, action, req) {
		return nil
	}
	err := h.update(ctx, id, action, req)
	var ended *serviceerror.NotFound
	if errors.As(err, &ended) {
		has, done, failure := h.carriesOn(ctx, id, sagas.Asked{Action: action, Request: req})
		if done || failure != nil {
			return failure
		}
		if has {
			err = h.update(ctx, id, action, req)
		}
	}
	if errors.As(err, &ended) && action != sagas.UpdateAnswer {
		err = h.update(ctx, workflows.SagaUndoID(id), action, req)
	}
	var refused *temporal.ApplicationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		return h.whyRefused(ctx, id, action, req.Step, "")
	case errors.As(err, &refused):
		return h.whyRefused(ctx, id, action, req.Step, refused.Message())
	}
	return temporalerr.Unavailable(action+" saga "+id, err)
}

// update sends an Update, and waits until it is done.
func (h *Handles) update(ctx context.Context, workflowID, action string, req sagas.Request) error {
	handle, err := h.o.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: workflowID,
		UpdateName: action, Args: []any{req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

// whyRefused says what became of a request that was not taken: refusal is why, empty
// where the saga has ended.
func (h *Handles) whyRefused(ctx context.Context, id, action, step, refusal string) error {
	status, ended, err := h.standing(ctx, id)
	if err != nil && refusal == "" {
		return err
	}
	if action == sagas.UpdateAnswer {
		if by := status.AnsweredBy(step); err == nil && by != "" {
			return fmt.Errorf("%w: step %s of %s was answered %s", holdfast.ErrAnswered, step, id, by)
		}
	}
	if refusal == "" {
		refusal = "it is " + status.State
		if ended {
			refusal += ": nothing is left to " + action
			if action != sagas.UpdateAnswer && status.State != core.StateCompensated {
				refusal += "; Compensate undoes what it did"
			}
		}
	}
	return refusedAs(id, action, step, refusal)
}

func refusedAs(id, action, step, why string) error {
	what := action
	if step != "" {
		what += " of step " + step
	}
	return fmt.Errorf("%w: saga %s: %s is refused: %s", holdfast.ErrInvalid, id, what, why)
}

// Compensate has a saga go back, or undone where it has ended. A saga that ends
// meanwhile is looked at again.
func (h *Handles) Compensate(ctx context.Context, id string, req sagas.Request) error {
	ctx, cancel := h.o.Bounded(ctx)
	defer cancel()
	if err := h.o.Gate.AwaitRunning(ctx); err != nil {
		return err
	}
	if h.takeOut(ctx, id, workflows.UpdateCompensate, req) {
		return nil
	}
	for {
		own, last, err := h.workflowsOf(ctx, id, &sagas.Asked{Action: workflows.UpdateCompensate, Request: req})
		if err != nil {
			return err
		}
		if last.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return h.undo(ctx, id, own, last, req)
		}
		workflowID := last.WorkflowExecution.ID
		err = h.update(ctx, workflowID, workflows.UpdateCompensate, req)
		var ended *serviceerror.NotFound
		var refused *temporal.ApplicationError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &ended):
			if !pause(ctx, lookFirst) {
				return temporalerr.Unavailable("compensate saga "+id, ctx.Err())
			}
		case errors.As(err, &refused):
			status, err := h.answer(ctx, workflowID)
			switch {
			case err != nil: // it may go back because it began with that
				return temporalerr.Unavailable("compensate saga "+id, err)
			case goesBack(status):
				return nil // before
			}
			return h.whyRefused(ctx, id, workflows.UpdateCompensate, "", refused.Message())
		default:
			return temporalerr.Unavailable("compensate saga "+id, err)
		}
	}
}

// answer asks a workflow until it answers, while it is there.
func (h *Handles) answer(ctx context.Context, workflowID string) (sagas.Status, error) {
	for {
		status, err := h.ask(ctx, workflowID)
		if err == nil || errors.As(err, new(*serviceerror.NotFound)) || !pause(ctx, lookFirst) {
			return status, err
		}
	}
}

// goesBack reports whether a saga goes back, or has.
func goesBack(s sagas.Status) bool {
	return s.Core.Phase == core.Backwards || s.Core.Phase == core.Compensated
}

type described = client.WorkflowExecutionDescription

// workflowsOf describes a saga's own workflow, and the last one: the one that undoes it
// after its end, or its own. asked, if not nil, is what a saga begins with that has none yet.
func (h *Handles) workflowsOf(ctx context.Context, id string, asked *sagas.Asked) (own, last *described, err error) {
	own, err = h.describeOnce(ctx, id)
	if errors.Is(err, holdfast.ErrNotFound) {
		how := looking
		if asked != nil {
			how = taking
		}
		if _, missing := h.carryOn(ctx, id, how, asked); !errors.Is(missing, holdfast.ErrNotFound) {
			if err = missing; err == nil {
				own, err = h.describeOnce(ctx, id)
			}
		}
	}
	if err != nil || own.WorkflowCloseTime == nil {
		return own, own, err
	}
	undoing, err := h.describeOnce(ctx, workflows.SagaUndoID(id))
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		return own, own, nil
	case err != nil:
		return nil, nil, err
	case undoing.WorkflowStartTime.Before(*own.WorkflowCloseTime):
		return own, own, nil // it was started again since, with the same key
	}
	return own, undoing, nil
}

// knownOfLost asks how far a saga came whose workflow was ended from outside. Any process
// of the group can tell, such as this one.
func (h *Handles) knownOfLost(ctx context.Context, id string, last *described) (sagas.Status, error) {
	for {
		known, err := h.ask(ctx, last.WorkflowExecution.ID)
		if err == nil && known.Core.Phase != "" {
			return known, nil
		}
		if !pause(ctx, lookEvery) {
			err = fmt.Errorf("compensate saga %s: no process tells how far it came: %w", id, context.Cause(ctx))
			return known, &holdfast.UnavailableError{Part: "Temporal", Err: err,
				Remedy: "try again; `" + undoCommand(h.o.Prefix, id) + "` goes without"}
		}
	}
}

// undo starts the workflow that undoes a saga whose last workflow has ended. That
// somebody else does the same is no error.
func (h *Handles) undo(ctx context.Context, id string, own, last *described, req sagas.Request) error {
	lost := last.Status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	var known sagas.Status
	var err error
	if lost {
		known, err = h.knownOfLost(ctx, id, last)
	} else if known, err = h.read(ctx, id, last); goesBack(known) {
		return err // all is undone
	}
	if err != nil {
		return err
	}
	of := sagas.UndoOf{RunID: own.WorkflowExecution.RunID, Terminated: lost,
		Operator: req.Operator, Reason: req.Reason}
	in := sagas.UndoInput(sagas.Input{ID: id, Group: h.o.Group, Prefix: h.o.Prefix, Name: known.Name,
		Key: known.Key, Tokens: h.o.Tokens, StepNames: h.o.StepNames(known.Plan)}, known, of)
	_, err = h.o.Temporal.ExecuteWorkflow(ctx, sagas.UndoOptions(h.o.Prefix, in), sagas.Name, in)
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	if err != nil && !errors.As(err, &there) {
		return temporalerr.Unavailable("compensate saga "+id, err)
	}
	return nil
}
