package sagahandle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// State asks Temporal how a saga stands.
func (h *Handles) State(ctx context.Context, id string) (holdfast.SagaStanding, error) {
	ctx, cancel := h.o.Bounded(ctx)
	defer cancel()
	if err := h.o.Gate.AwaitRunning(ctx); err != nil {
		return holdfast.SagaStanding{ID: id}, err
	}
	status, _, err := h.standing(ctx, id)
	return status.Standing(), err
}

// stands is how a saga stands for who can wait no longer, with its state, as far as
// they are known.
func (h *Handles) stands(ctx context.Context, id string) (holdfast.SagaStanding, json.RawMessage) {
	ctx, cancel := context.WithTimeout(ctx, 2*askFor)
	defer cancel()
	status, _, err := h.standing(ctx, id)
	if err != nil {
		return holdfast.SagaStanding{}, nil
	}
	return status.Standing(), status.Core.Data
}

// standing returns what is known of a saga: all of it where its workflow has ended by
// itself or answers within a second, else its state. ended says that nothing can be asked
// of it any more.
func (h *Handles) standing(ctx context.Context, id string) (status sagas.Status, ended bool, err error) {
	known, _ := workflows.ParseID(id)
	status = sagas.Status{ID: id, Group: known.Owner, Name: known.Name, Key: known.Key, State: core.StateRunning}
	if r := h.running(id); r != nil {
		status.Step = r.Standing().Step
		return status, false, nil
	}
	own, last, err := h.workflowsOf(ctx, id, nil)
	if errors.Is(err, errDriven) {
		return status, false, nil
	}
	if errors.Is(err, errDeserted) {
		status.State = endedFromOutside[enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED]
		status.Reason = errDeserted.Error() + "; it goes on when it is started again with its key, or waited for, and `" +
			undoCommand(h.o.Prefix, id) + "` undoes what it did"
		return status, false, nil
	}
	if err != nil {
		return sagas.Status{ID: id}, false, err
	}
	status, err = h.read(ctx, id, last)
	return status, own.WorkflowCloseTime != nil, err
}

// describeOnce describes a workflow; what is not there is [holdfast.ErrNotFound].
func (h *Handles) describeOnce(ctx context.Context, workflowID string) (*described, error) {
	d, err := h.o.Temporal.DescribeWorkflow(ctx, workflowID, "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return nil, fmt.Errorf("%w: saga %s", holdfast.ErrNotFound, workflowID)
	case err != nil:
		return nil, temporalerr.Unavailable("look at saga "+workflowID, err)
	}
	if sagas.KeyWasUsed(ctx, h.o.Temporal, d.Status, workflowID, d.WorkflowExecution.RunID) { // that is none of the saga
		return nil, fmt.Errorf("%w: saga %s", holdfast.ErrNotFound, workflowID)
	}
	return d, nil
}

// read reads the status of the saga id off the workflow that was described.
func (h *Handles) read(ctx context.Context, id string,
	d *described) (sagas.Status, error) {
	workflowID := d.WorkflowExecution.ID
	known, _ := workflows.ParseID(id)
	status := sagas.Status{ID: id, State: core.StateRunning, Group: known.Owner, Name: known.Name, Key: known.Key}
	switch d.Status {
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		if err := h.o.Temporal.GetWorkflow(ctx, workflowID, d.WorkflowExecution.RunID).Get(ctx, &status); err != nil {
			return status, temporalerr.Unavailable("read how saga "+id+" ended", err)
		}
		return status, nil
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW:
		if answer, err := h.ask(ctx, workflowID); err == nil && answer.State != "" {
			return answer, nil
		}
		// its workflow task goes on with a step, or no process answers
		if state,
			there := d.TypedSearchAttributes.GetKeyword(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState)); there {
			status.State = state
		}
		return status, nil
	}
	if answer, err := h.ask(ctx, workflowID); err == nil {
		status = answer
	}
	status.State = endedFromOutside[d.Status]
	status.Step, status.Reason = "", "its workflow did not end by itself: `"+undoCommand(h.o.Prefix,
		id)+"` undoes what it did"
	return status, nil
}

// endedFromOutside are the words for how a workflow ends that does not decide.
var endedFromOutside = map[enumspb.WorkflowExecutionStatus]string{
	enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:     "failed",
	enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED: "terminated",
	enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:   "canceled",
	enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:  "timed-out",
}
