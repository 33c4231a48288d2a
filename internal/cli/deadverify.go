package cli

import (
	"context"

	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// again looks once more at what is not over. What cannot be seen now stays as it
// was.
func (b *batch) again(ctx context.Context, r deadRow, o *outcome) {
	var status workflows.DeadLetterStatus
	if err := b.t.stands(ctx, r.WorkflowID, &status); err != nil {
		return
	}
	if o.Outcome == isUnknown && !status.State.Final() { // whether this action did it cannot be told
		o.State, o.Detail = string(status.State), noAnswer+"; it is "+string(status.State)+": "+status.Reason
		return
	}
	now := judge(b.act.update, status, o.Redelivery)
	if now.pending && o.Outcome == now.Outcome {
		o.State, o.Detail, o.group = now.State, now.Detail, now.group
		return
	}
	now.ID, now.Consumer, now.WorkflowID = o.ID, o.Consumer, o.WorkflowID
	if *o = now; !o.pending {
		b.tick()
	}
}

// look adds to the compensations that are not over why that is so.
func (b *batch) look(ctx context.Context, rows []deadRow, all []outcome) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	down := map[string]bool{} // groups that nobody works for
	for _, o := range all {
		if _, known := down[o.group]; o.Outcome != isUndoing || o.group == "" || known {
			continue
		}
		n, err := b.t.pollers(ctx, workflows.TaskQueue(b.prefix, o.group), enumspb.TASK_QUEUE_TYPE_ACTIVITY)
		down[o.group] = err == nil && n == 0
	}
	var lanes errgroup.Group
	lanes.SetLimit(b.parallel)
	for i := range all {
		if all[i].Outcome != isUndoing {
			continue
		}
		all[i].Remedy = b.t.code("dead show", all[i].WorkflowID) + " says how it goes on"
		lanes.Go(func() error {
			d, err := b.t.DescribeWorkflowExecution(ctx, rows[i].WorkflowID, "")
			if err != nil {
				return nil // nothing to add
			}
			for _, p := range pendingActivities(d.GetPendingActivities()) {
				all[i].Detail = p.sentence()
				if down[all[i].group] && !p.Running && p.Name == activities.Compensate {
					all[i].Detail = "no worker of group " + all[i].group + " runs"
					all[i].Remedy = "start a process of the group within a day: then it goes on by itself"
				}
			}
			return nil
		})
	}
	_ = lanes.Wait()
}
