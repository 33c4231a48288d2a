package sagas

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// named settles the saga's ID, the owner of its step rows: each start is a saga of its
// own. The runs of a Temporal Schedule all have one input, and each a workflow ID of its
// own, which is the ID then; so is that of whoever starts one by hand and leaves the ID
// out. A cron schedule starts one ID again and again, whose steps are done after the
// first time: it is refused.
func (in Input) named(ctx workflow.Context) (Input, error) {
	info := workflow.GetInfo(ctx)
	own := info.WorkflowExecution.ID
	if in.Undo != nil || in.Renewed || in.ID == own && info.CronSchedule == "" {
		return in, nil
	}
	id, ok := workflows.ParseID(own)
	ours := ok && id.Kind == workflows.KindSaga && id.Owner == in.Group && id.Name == in.Name && !id.Undo
	switch {
	case in.ID == "" && !ours:
		return in, fmt.Errorf("%w: saga %s has no ID, and workflow ID %q cannot be it: give the workflow (or the action "+
			"of the schedule) the ID %s",
			holdfast.ErrInvalid, in.Name, own, workflows.SagaID(in.Prefix, in.Group, in.Name, "KEY"))
	case in.ID != "" && !ours, in.ID != "" && workflow.GetVersion(ctx, "saga-own-id", workflow.DefaultVersion, 1) ==
		workflow.DefaultVersion:
		return in, nil // as ever: somebody knows what it is for, or an earlier version began it
	case info.CronSchedule != "":
		return in, fmt.Errorf("%w: saga %s has a cron schedule, which would start the same saga again and again: its "+
			"steps are done once; use a Temporal Schedule, whose runs have IDs of their own",
			holdfast.ErrInvalid, own)
	}
	in.ID, in.Tokens = own, true
	return in, nil
}
