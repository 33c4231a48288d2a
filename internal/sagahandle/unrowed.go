package sagahandle

import (
	"context"
	"fmt"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagacohort"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// latestCohorts is how many cohorts with a saga's key are looked at, the latest ones.
const latestCohorts = 10

// fromCohort is carryOn for a process that has no begin rows, such as one that only sends: it finds the
// cohort by the saga's key, as far as Temporal lists it already. Where that has ended, the workflow that
// the saga is given finds in the begin row what there is to be done.
func (h *Handles) fromCohort(ctx context.Context, id string, how carrying, asked *sagas.Asked) (taken bool, err error) {
	known, ok := workflows.ParseID(id)
	if !ok || known.Kind != workflows.KindSaga || known.Undo || strings.ContainsAny(known.Key, `"'\`) {
		return false, holdfast.ErrNotFound
	}
	page, err := h.o.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: latestCohorts,
		Query: fmt.Sprintf(`WorkflowType = "%s" AND TaskQueue = "%s" AND %s = "%s"`, sagacohort.Name,
			workflows.TaskQueue(h.o.Prefix, h.o.Group), workflows.AttributeKey, workflows.Clip(known.Key, holdfast.MaxName))})
	if err != nil {
		return false, temporalerr.Unavailable("look for saga "+id, err)
	}
	for _, x := range page.GetExecutions() {
		in, m, there := h.memberOf(ctx, x, id)
		if !there {
			continue
		}
		next := h.startedWith(id, in.Database, m.Start)
		next.Began = m.Began
		switch x.GetStatus() {
		case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
			if how != taking { // it is told how it ends, or has its own workflow in a moment
				return false, errDriven
			}
		case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
			at := x.GetExecution()
			var out sagacohort.Result
			if err := h.o.Temporal.GetWorkflow(ctx, at.GetWorkflowId(), at.GetRunId()).Get(ctx, &out); err != nil {
				return false, temporalerr.Unavailable("look how saga "+id+" ended", err)
			}
			end, _ := out.Of(id)
			if end.State != activities.MemberCompleted { // it has had its workflow
				return false, holdfast.ErrNotFound
			}
			asked = nil // its workflow ends at once
			if len(end.Last) > 0 {
				next.Content = sagas.ContentOf(m.Start.State)
				if next, err = sagas.CompletedInput(next, end.Last); err != nil {
					return false, err
				}
			}
		default:
			if how == looking {
				return false, errDeserted
			}
		}
		return h.giveTo(ctx, next, m.Start, asked)
	}
	return false, fmt.Errorf("%w: saga %s", holdfast.ErrNotFound, id)
}

// memberOf is what a saga's cohort was told of it, if it is in that one.
func (h *Handles) memberOf(ctx context.Context, x *workflowpb.WorkflowExecutionInfo, id string) (
	in sagacohort.Input, m activities.SagaMember, there bool) {
	at := x.GetExecution()
	it := h.o.Temporal.GetWorkflowHistory(ctx, at.GetWorkflowId(), at.GetRunId(), false,
		enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !it.HasNext() {
		return in, m, false
	}
	first, err := it.Next()
	if err != nil || converter.GetDefaultDataConverter().FromPayloads(
		first.GetWorkflowExecutionStartedEventAttributes().GetInput(), &in) != nil { // encrypted by the client, or gone
		return in, m, false
	}
	i := slices.IndexFunc(in.Members, func(m activities.SagaMember) bool { return m.ID == id })
	if i < 0 {
		return in, m, false
	}
	return in, in.Members[i], true
}

// giveTo starts a saga's workflow, with what is asked of it, and waits a moment for one that ends at
// once.
func (h *Handles) giveTo(ctx context.Context, next sagas.Input, start holdfast.SagaStart, asked *sagas.Asked) (
	taken bool, err error) {
	if asked != nil {
		if err := h.mayAsk(ctx, next.ID, barrier.BegunSaga{SagaStart: start}, asked); err != nil {
			return false, err
		}
		if !h.o.Rolling {
			next.Asked = asked
		}
	}
	started, err := h.HandOver(ctx, next)
	if err == nil && next.Ended {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		_ = h.o.Temporal.GetWorkflow(ctx, next.ID, "").Get(ctx, nil)
	}
	return started && next.Asked != nil && err == nil, err
}
