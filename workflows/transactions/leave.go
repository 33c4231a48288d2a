package transactions

import (
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/brief"
	"github.com/holdfastmq/holdfast/workflows"
)

// part brings the members of a cohort that have not ended to where they end, or
// go on by themselves. Those of which nobody has said what became, since their
// process died for example, are checked back once, all together; what is unknown
// then leaves. Others do not wait for that.
func (t *transaction) part(ctx workflow.Context) {
	var unknown, others []*member
	for _, m := range t.members {
		if m.undecided() && m.state == workflows.Checking {
			unknown = append(unknown, m)
		} else {
			others = append(others, m)
		}
	}
	t.leave(ctx, others)
	if len(unknown) == 0 {
		return
	}
	t.checkBackAll(ctx, unknown)
	t.commit(ctx, t.with(holdfast.Commit))
	t.rollback(ctx, t.with(holdfast.Rollback))
	t.leave(ctx, unknown)
}

// leave gives every one of members that has not ended a workflow of its own, and
// waits until that is started. One that has such a workflow already is left to it.
// What could not leave stays, not at its end, and is settled here.
func (t *transaction) leave(ctx workflow.Context, members []*member) {
	type leaver struct {
		*member
		why   string
		asked bool // to cancel, by its input
		child workflow.ChildWorkflowFuture
	}
	var leaving []leaver
	for _, m := range members {
		if m.state.Final() {
			continue
		}
		why := leavingReason(m)
		child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, t.ownOptions(ctx, m, why)), Name, t.ownInput(m))
		leaving = append(leaving, leaver{m, why, m.cancelled, child})
	}
	for _, m := range leaving {
		err := m.child.GetChildWorkflowExecution().Get(ctx, nil)
		var there *temporal.ChildWorkflowExecutionAlreadyStartedError
		if err != nil && !errors.As(err, &there) {
			m.stays, m.reason = true, fmt.Sprintf("%s; a workflow of its own could not be started: %v", m.why, err)
			continue
		}
		own := t.ownID(m.member)
		m.end(workflows.Left, fmt.Sprintf("goes on in workflow %s: %s", own, m.why))
		if m.cancelled && !m.asked {
			_ = workflow.RequestCancelExternalWorkflow(ctx, own, "").Get(ctx, nil) // one that has ended needs none
		}
	}
}

// ownID is the ID of the workflow of its own that m has when it has left.
func (t *transaction) ownID(m *member) string {
	return workflows.WorkflowID(t.ids, t.in.Group, m.tx.ID)
}

// ownInput is the input of the workflow in which m goes on from where it stands.
func (t *transaction) ownInput(m *member) Input {
	in := t.in
	in.Cohort, in.ShortIDs, in.Ended = false, false, nil
	in.Transactions, in.Carried = []activities.Tx{m.tx}, []Carried{m.carried()}
	return in
}

// ownOptions are those that whoever starts a transaction alone uses, for m as it
// stands now.
func (t *transaction) ownOptions(ctx workflow.Context, m *member, why string) workflow.ChildWorkflowOptions {
	o := StartOptions(t.in.Prefix, t.in.Group, m.tx)
	info := workflow.GetInfo(ctx)
	return workflow.ChildWorkflowOptions{
		WorkflowID:            t.ownID(m),
		TaskQueue:             o.TaskQueue,
		WorkflowTaskTimeout:   info.WorkflowTaskTimeout,
		WorkflowIDReusePolicy: o.WorkflowIDReusePolicy,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:         o.StaticSummary,
		StaticDetails:         fmt.Sprintf("Left workflow `%s`: %s.\n\n", info.WorkflowExecution.ID, why) + o.StaticDetails,
		TypedSearchAttributes: o.TypedSearchAttributes,
		Memo:                  o.Memo,
	}
}

// leavingReason says why m cannot end with the others.
func leavingReason(m *member) string {
	reason := brief.Text(m.reason, 2000)
	switch {
	case m.cancelled && m.undecided():
		return "the workflow was asked to cancel, and it is not decided"
	case m.state == workflows.Running:
		return "its local transaction is still running"
	case m.resolution == holdfast.Commit:
		return "committed, and could not be delivered at once: " + workflows.OrNone(reason)
	case reason == "":
		return "undecided"
	}
	return "undecided: " + reason
}
