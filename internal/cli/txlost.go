package cli

import (
	"context"
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// isLost reports whether a workflow was closed without deciding: somebody
// terminated it, or it failed.
func isLost(s enumspb.WorkflowExecutionStatus) bool {
	for _, lost := range closedStates {
		if s == lost {
			return true
		}
	}
	return false
}

// takeUp starts a lost transaction again, with a check-back, and waits for its
// end. It reports false where the transaction is not lost.
func (t *temporalServer) takeUp(ctx context.Context, of target, req workflows.Request) (workflows.MemberStatus, bool, error) {
	d, err := t.DescribeWorkflowExecution(ctx, of.workflowID, "")
	if err != nil {
		return workflows.MemberStatus{}, false, fmt.Errorf("describe workflow %s: %w", of.workflowID, err)
	}
	info := d.GetWorkflowExecutionInfo()
	if !isLost(info.GetStatus()) {
		return workflows.MemberStatus{}, false, nil
	}
	in, err := t.input(ctx, of.workflowID, info.GetExecution().GetRunId())
	if err != nil {
		return workflows.MemberStatus{}, true, err
	}
	for _, tx := range in.Transactions {
		if of.tx == "" && len(in.Transactions) == 1 || tx.ID == of.tx {
			tx.Form, tx.Instance, tx.Handler = activities.HandedOver, "", ""
			tx.Why = fmt.Sprintf("%s: %s (its workflow was closed undecided: %s)", req.Operator, req.Reason, info.GetStatus())
			status, err := t.again(ctx, in, tx)
			return status, true, err
		}
	}
	return workflows.MemberStatus{}, true, notFound(of.tx)
}

// again starts tx in a workflow of its own.
func (t *temporalServer) again(ctx context.Context, in workflows.Input, tx activities.Tx) (workflows.MemberStatus, error) {
	prefix := in.Prefix
	if prefix == "" {
		prefix = "holdfast"
	}
	in.Transactions, in.Carried, in.Ended = []activities.Tx{tx}, nil, nil
	run, err := t.ExecuteWorkflow(ctx, workflows.StartOptions(prefix, in.Group, tx), workflows.Name, in)
	if err != nil {
		return workflows.MemberStatus{}, fmt.Errorf("start transaction %s again: %w", tx.ID, err)
	}
	got := started{Tx: tx.ID, Group: in.Group, State: stateRunning, WorkflowID: run.GetID(), RunID: run.GetRunID()}
	err = t.awaitEnd(ctx, run, &got, prefix)
	return workflows.MemberStatus{ID: tx.ID, State: workflows.State(got.State), Reason: got.Reason}, err
}

// input reads what a transaction's workflow was started with.
func (t *temporalServer) input(ctx context.Context, id, run string) (workflows.Input, error) {
	var in workflows.Input
	err := t.inputOf(ctx, id, run, &in)
	return in, err
}

// inputOf reads what a workflow was started with.
func (t *temporalServer) inputOf(ctx context.Context, id, run string, in any) error {
	it := t.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !it.HasNext() {
		return fmt.Errorf("workflow %s has no history", id)
	}
	first, err := it.Next()
	if err == nil {
		err = t.data.FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), in)
	}
	if err != nil {
		return fmt.Errorf("read the input of workflow %s: %w", id, err)
	}
	return nil
}

// lost finds transactions whose last workflow was closed undecided, among the
// latest.
func (f *findings) lost(ctx context.Context, t *temporalServer, prefix string) {
	const check = "lost"
	n, example, err := t.closedUndecided(ctx, filter{}.query(), func(queue string) bool { return strings.HasPrefix(queue, prefix+".") })
	if err != nil {
		f.add(levelWarning, check, "", "unknown: %s", text(err))
		return
	}
	if n == 0 {
		f.ok(check, "no transaction's workflow was closed undecided")
		return
	}
	f.add(levelProblem, check, "take each up again, such as: holdfast tx recheck "+example+" --reason TEXT",
		"%s closed undecided, by a termination for example", plural(n, "workflow"))
}

// closedUndecided counts the workflows that query finds on the task queues meant
// and whose last run is lost, among the latest, and names one.
func (t *temporalServer) closedUndecided(ctx context.Context, query string, meant func(taskQueue string) bool) (n int, example string, err error) {
	const most = 100
	infos, err := t.page(ctx, query+` AND ExecutionStatus IN ("Terminated", "Failed", "TimedOut", "Canceled")`, most)
	if err != nil {
		return 0, "", err
	}
	seen := map[string]bool{}
	for _, info := range infos {
		id := info.GetExecution().GetWorkflowId()
		if seen[id] || !meant(info.GetTaskQueue()) {
			continue
		}
		seen[id] = true
		d, err := t.DescribeWorkflowExecution(ctx, id, "")
		if err == nil && isLost(d.GetWorkflowExecutionInfo().GetStatus()) {
			n, example = n+1, id
		}
	}
	return n, example, nil
}
