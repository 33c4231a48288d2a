package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// By says who asks for something, and why. Both are required, and are recorded in the
// saga's history.
type By struct {
	// Operator is a person's or a service's name, of at most 200 bytes.
	Operator string
	Reason   string
}

// maxOperator is how long an operator's name may be: longer ones are cut in histories.
const maxOperator = 200

// request is what by asks for.
func (by By) request(step string) (sagas.Request, error) {
	req := sagas.Request{Step: step}
	req.Operator, req.Reason = strings.TrimSpace(by.Operator), strings.TrimSpace(by.Reason)
	switch {
	case req.Operator == "":
		return req, fmt.Errorf("%w: By.Operator is empty: say who asks", holdfast.ErrInvalid)
	case req.Reason == "":
		return req, fmt.Errorf("%w: By.Reason is empty: say why", holdfast.ErrInvalid)
	case workflows.ReservedOperator(req.Operator):
		return req, fmt.Errorf("%w: By.Operator cannot be %q: Holdfast signs with that name what nobody asked for",
			holdfast.ErrInvalid, req.Operator)
	case len(req.Operator) > maxOperator || strings.IndexFunc(req.Operator, unicode.IsControl) >= 0:
		return req, fmt.Errorf("%w: By.Operator is too long, or has control characters: want one line of at most %d bytes",
			holdfast.ErrInvalid, maxOperator)
	}
	return req, nil
}

// Pause holds the saga: what is under way ends, and no further step is begun or undone
// until [SagaHandle.Resume]. The time limits of replies and answers go on.
//
// All that steers a saga returns once it is done and recorded. [holdfast.ErrInvalid]: by
// is not complete, or the saga refuses it, because it has ended, has no such step, or
// stands otherwise; [holdfast.ErrNotFound]: there is no such saga. After an
// UnavailableError it may have taken effect: [SagaHandle.State] says, and to repeat it
// does no harm.
func (h *SagaHandle[S]) Pause(ctx context.Context, by By) error {
	return h.steer(ctx, sagas.UpdatePause, "", by)
}

// Resume lets a paused saga go on where it was.
func (h *SagaHandle[S]) Resume(ctx context.Context, by By) error {
	return h.steer(ctx, sagas.UpdateResume, "", by)
}

// Retry tries again now what failed, or waits for its next try, with all its tries anew:
// the step, or with an empty step all that failed. In a saga that goes back, it is the
// Undo that is tried. It ends a pause.
func (h *SagaHandle[S]) Retry(ctx context.Context, step string, by By) error {
	return h.steer(ctx, sagas.UpdateRetry, step, by)
}

// Skip goes on as if the step, which failed or waits, had been done, or undone. Nothing
// is done for it. When the saga goes back later, it is undone like the others.
func (h *SagaHandle[S]) Skip(ctx context.Context, step string, by By) error {
	return h.steer(ctx, sagas.UpdateSkip, step, by)
}

// Compensate has the saga undo all that it did, the last step first. It returns once the
// saga has turned back; [SagaHandle.Wait] says how that ends. One that has completed, or
// whose workflow was ended from outside, is undone by a second workflow. To repeat it is
// safe: nothing is undone twice.
func (h *SagaHandle[S]) Compensate(ctx context.Context, by By) error {
	req, err := by.request("")
	if err != nil {
		return err
	}
	id, err := h.find(ctx)
	if err != nil {
		return err
	}
	if err := h.w.compensateSaga(ctx, id, req); err != nil {
		return err
	}
	h.turned.Store(true)
	return nil
}

// Approve answers the saga's wait step, with a value where the step takes one, or nil.
// An answer may come before its wait. [holdfast.ErrAnswered]: the step was answered
// before, by whom and how is said.
func (h *SagaHandle[S]) Approve(ctx context.Context, step string, value any, by By) error {
	req, err := by.request(step)
	if err != nil {
		return err
	}
	if value != nil {
		if req.Value, err = guard.Value(func() ([]byte, error) { return json.Marshal(value) }); err != nil {
			return fmt.Errorf("%w: the answer to step %s of %s is no JSON: %w", holdfast.ErrInvalid, step, h.id, err)
		}
		if len(req.Value) > sagas.MaxAnswer {
			return fmt.Errorf("%w: the answer to step %s of %s has %d bytes of JSON, the limit is %d",
				holdfast.ErrTooLarge, step, h.id, len(req.Value), sagas.MaxAnswer)
		}
	}
	return h.send(ctx, sagas.UpdateAnswer, req)
}

// Refuse answers the saga's wait step with no: the saga goes back, or on where the step
// says so. [holdfast.ErrAnswered] is as for Approve.
func (h *SagaHandle[S]) Refuse(ctx context.Context, step string, by By) error {
	req, err := by.request(step)
	if err != nil {
		return err
	}
	req.Refuse = true
	return h.send(ctx, sagas.UpdateAnswer, req)
}

func (h *SagaHandle[S]) steer(ctx context.Context, action, step string, by By) error {
	req, err := by.request(step)
	if err != nil {
		return err
	}
	return h.send(ctx, action, req)
}

func (h *SagaHandle[S]) send(ctx context.Context, action string, req sagas.Request) error {
	id, err := h.find(ctx)
	if err != nil {
		return err
	}
	return h.w.steerSaga(ctx, id, action, req)
}

// steerSaga has the saga's workflow do what is asked for: its own, or the one that
// undoes it after its end.
func (w *Worker) steerSaga(ctx context.Context, id, action string, req sagas.Request) error {
	ctx, cancel := w.lanes.Bounded(ctx)
	defer cancel()
	if err := w.awaitRunning(ctx); err != nil {
		return err
	}
	err := w.updateSaga(ctx, id, action, req)
	var ended *serviceerror.NotFound
	if errors.As(err, &ended) && action != sagas.UpdateAnswer {
		err = w.updateSaga(ctx, workflows.SagaUndoID(id), action, req)
	}
	var refused *temporal.ApplicationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		return w.whyRefused(ctx, id, action, req.Step, "")
	case errors.As(err, &refused):
		return w.whyRefused(ctx, id, action, req.Step, refused.Message())
	}
	return temporalerr.Unavailable(action+" saga "+id, err)
}

// updateSaga sends an Update, and waits until it is done.
func (w *Worker) updateSaga(ctx context.Context, workflowID, action string, req sagas.Request) error {
	handle, err := w.o.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: workflowID,
		UpdateName: action, Args: []any{req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

// whyRefused says what became of a request that was not taken: refusal is why, empty
// where the saga has ended.
func (w *Worker) whyRefused(ctx context.Context, id, action, step, refusal string) error {
	status, ended, err := w.lookAtSaga(ctx, id)
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
	what := action
	if step != "" {
		what += " of step " + step
	}
	return fmt.Errorf("%w: saga %s: %s is refused: %s", holdfast.ErrInvalid, id, what, refusal)
}

// compensateSaga has a saga go back, or undone where it has ended. A saga that ends
// meanwhile is looked at again.
func (w *Worker) compensateSaga(ctx context.Context, id string, req sagas.Request) error {
	ctx, cancel := w.lanes.Bounded(ctx)
	defer cancel()
	if err := w.awaitRunning(ctx); err != nil {
		return err
	}
	for {
		own, last, err := w.workflowsOf(ctx, id)
		if err != nil {
			return err
		}
		if last.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return w.undoSaga(ctx, id, own, last, req)
		}
		workflowID := last.WorkflowExecution.ID
		err = w.updateSaga(ctx, workflowID, workflows.UpdateCompensate, req)
		var ended *serviceerror.NotFound
		var refused *temporal.ApplicationError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &ended):
			if !pause(ctx, lookAtSagaFirst) {
				return temporalerr.Unavailable("compensate saga "+id, ctx.Err())
			}
		case errors.As(err, &refused):
			if status, err := w.sagaStatus(ctx, workflowID); err == nil && goesBack(status) {
				return nil // before
			}
			return w.whyRefused(ctx, id, workflows.UpdateCompensate, "", refused.Message())
		default:
			return temporalerr.Unavailable("compensate saga "+id, err)
		}
	}
}

// goesBack reports whether a saga goes back, or has.
func goesBack(s sagas.Status) bool {
	return s.Core.Phase == core.Backwards || s.Core.Phase == core.Compensated
}

type described = client.WorkflowExecutionDescription

// workflowsOf describes a saga's own workflow, and the last one: the one that undoes it
// after its end, or its own.
func (w *Worker) workflowsOf(ctx context.Context, id string) (own, last *described, err error) {
	own, err = w.describeOnce(ctx, id)
	if err != nil || own.WorkflowCloseTime == nil {
		return own, own, err
	}
	undoing, err := w.describeOnce(ctx, workflows.SagaUndoID(id))
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
func (w *Worker) knownOfLost(ctx context.Context, id string, last *described) (sagas.Status, error) {
	for {
		known, err := w.sagaStatus(ctx, last.WorkflowExecution.ID)
		if err == nil && known.Core.Phase != "" {
			return known, nil
		}
		if !pause(ctx, lookAtSaga) {
			err = fmt.Errorf("compensate saga %s: no process tells how far it came: %w", id, context.Cause(ctx))
			return known, &holdfast.UnavailableError{Part: "Temporal", Err: err,
				Remedy: "try again; `" + undoCommand(w.o.Prefix, id) + "` goes without"}
		}
	}
}

// undoSaga starts the workflow that undoes a saga whose last workflow has ended. That
// somebody else does the same is no error.
func (w *Worker) undoSaga(ctx context.Context, id string, own, last *described, req sagas.Request) error {
	lost := last.Status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	var known sagas.Status
	var err error
	if lost {
		known, err = w.knownOfLost(ctx, id, last)
	} else if known, err = w.readSaga(ctx, id, last); goesBack(known) {
		return err // all is undone
	}
	if err != nil {
		return err
	}
	of := sagas.UndoOf{RunID: own.WorkflowExecution.RunID, Terminated: lost,
		Operator: req.Operator, Reason: req.Reason}
	in := sagas.UndoInput(sagas.Input{ID: id, Group: w.o.Group, Prefix: w.o.Prefix, Name: known.Name,
		Key: known.Key, Tokens: !w.o.RollingUpgrade, StepNames: w.stepNames(known.Plan)}, known, of)
	_, err = w.o.Temporal.ExecuteWorkflow(ctx, sagas.UndoOptions(w.o.Prefix, in), sagas.Name, in)
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	if err != nil && !errors.As(err, &there) {
		return temporalerr.Unavailable("compensate saga "+id, err)
	}
	return nil
}
