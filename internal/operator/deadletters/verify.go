package deadletters

import (
	"context"

	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// again looks once more at what is not over. What cannot be seen now stays as it
// was.
func (b *Batch) again(ctx context.Context, r Row, o *actions.Outcome) {
	var status deadflow.Status
	if err := b.T.Stands(ctx, r.WorkflowID, &status); err != nil {
		return
	}
	if o.Outcome == actions.Unknown && !status.State.Final() { // whether this action did it cannot be told
		o.State, o.Detail = string(status.State), actions.NoAnswer+"; it is "+string(status.State)+": "+status.Reason
		return
	}
	now := judge(b.Act.Update, status, o.Redelivery)
	if now.Pending && o.Outcome == now.Outcome {
		o.State, o.Detail, o.Group = now.State, now.Detail, now.Group
		return
	}
	now.ID, now.Consumer, now.WorkflowID = o.ID, o.Consumer, o.WorkflowID
	if *o = now; !o.Pending {
		b.Tick()
	}
}

// look adds to the compensations that are not over why that is so.
func (b *Batch) look(ctx context.Context, rows []Row, all []actions.Outcome) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.QueryTimeout)
	defer cancel()
	down := map[string]bool{} // groups that nobody works for
	for _, o := range all {
		if _, known := down[o.Group]; o.Outcome != actions.Undoing || o.Group == "" || known {
			continue
		}
		n, err := b.T.Pollers(ctx, workflows.TaskQueue(b.Prefix, o.Group), enumspb.TASK_QUEUE_TYPE_ACTIVITY)
		down[o.Group] = err == nil && n == 0
	}
	var lanes errgroup.Group
	lanes.SetLimit(b.Parallel)
	for i := range all {
		if all[i].Outcome != actions.Undoing {
			continue
		}
		all[i].Remedy = b.T.Code("dead show", all[i].WorkflowID) + " says how it goes on"
		lanes.Go(func() error {
			d, err := b.T.DescribeWorkflowExecution(ctx, rows[i].WorkflowID, "")
			if err != nil {
				return nil // nothing to add
			}
			for _, p := range history.Pending(d.GetPendingActivities()) {
				all[i].Detail = p.Sentence()
				if down[all[i].Group] && !p.Running && p.Name == activities.Compensate {
					all[i].Detail = "no worker of group " + all[i].Group + " runs"
					all[i].Remedy = "start a process of the group within a day: then it goes on by itself"
				}
			}
			return nil
		})
	}
	_ = lanes.Wait()
}
