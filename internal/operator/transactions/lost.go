package transactions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// endLimit is how long the end of a transaction is waited for that was taken up again.
const endLimit = actions.AnswerLimit / 2

// takeUp starts a lost transaction again, with a check-back, and waits some seconds for
// its end. It reports false where the transaction is not lost.
func takeUp(ctx context.Context, t *server.Temporal, of target, req txflow.Request) (txflow.MemberStatus, bool, error) {
	d, err := t.DescribeWorkflowExecution(ctx, of.WorkflowID, "")
	if err != nil {
		return txflow.MemberStatus{}, false, fmt.Errorf("describe workflow %s: %w", of.WorkflowID, err)
	}
	info := d.GetWorkflowExecutionInfo()
	if !server.IsLost(info.GetStatus()) {
		return txflow.MemberStatus{}, false, nil
	}
	in, err := txInput(ctx, t, of.WorkflowID, info.GetExecution().GetRunId())
	if err != nil {
		return txflow.MemberStatus{}, true, err
	}
	why := fmt.Sprintf("%s: %s (its workflow was closed undecided: %s)", req.Operator, req.Reason, info.GetStatus())
	if of.Tx == "" && len(in.Transactions) > 1 {
		status, err := takeUpAll(ctx, t, InfoRow(t, info), info.GetStatus(), in, why)
		return status, true, err
	}
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	for _, tx := range in.Transactions {
		if of.Tx == "" || tx.ID == of.Tx {
			run, err := startAgain(ctx, t, of.WorkflowID, in, tx, why)
			if err != nil {
				return txflow.MemberStatus{}, true, fmt.Errorf("start transaction %s again: %w", tx.ID, err)
			}
			got := Started{Tx: tx.ID, Group: in.Group, State: server.StateRunning, WorkflowID: run.GetID(),
				RunID: run.GetRunID()}
			if err = awaitEnd(ctx, t, run, &got, prefixOf(in)); errors.As(err, new(noEndYet)) {
				got.Reason, err = "it is checked back, and has not ended yet", nil
			}
			return txflow.MemberStatus{ID: tx.ID, State: workflows.State(got.State), Reason: got.Reason}, true, err
		}
	}
	return txflow.MemberStatus{}, true, notFound(of.Tx)
}

// takeUpAll starts all that the shared workflow r left undecided again, and does
// not wait for their ends. That somebody else did the same is no error.
func takeUpAll(ctx context.Context, t *server.Temporal, r Row, s enumspb.WorkflowExecutionStatus, in txflow.Input,
	why string) (txflow.MemberStatus, error) {
	members, err := Members(ctx, t, r, s)
	if err != nil {
		return txflow.MemberStatus{}, err
	}
	lost := Undecided(members)
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(server.ResultsAtOnce)
	for _, tx := range in.Transactions {
		if !slices.Contains(lost, tx.ID) {
			continue
		}
		all.Go(func() error {
			_, err := startAgain(ctx, t, r.WorkflowID, in, tx, why)
			var there *serviceerror.WorkflowExecutionAlreadyStarted
			if err != nil && !errors.As(err, &there) {
				return text.WithRemedy(fmt.Errorf("start transaction %s again: %w", tx.ID, err), "asking again is safe")
			}
			return nil
		})
	}
	return txflow.MemberStatus{ID: r.WorkflowID, State: workflows.Left,
		Reason: text.Plural(len(lost), "transaction") + " taken up, each in a workflow of its own"}, all.Wait()
}

// startAgain starts tx in a workflow of its own, which begins with a check-back; lost is
// the workflow that it was in.
func startAgain(ctx context.Context, t *server.Temporal, lost string, in txflow.Input, tx activities.Tx,
	why string) (client.WorkflowRun, error) {
	tx.Form, tx.Instance, tx.Handler, tx.Why = activities.HandedOver, "", "", why
	in.Transactions, in.Cohort, in.Carried, in.Ended = []activities.Tx{tx}, false, nil, nil
	options := txflow.StartOptions(prefixOf(in), in.Group, tx)
	options.ID = server.OwnID(lost, tx.ID)
	return t.ExecuteWorkflow(ctx, options, txflow.Name, in)
}

func prefixOf(in txflow.Input) string { return cmp.Or(in.Prefix, "holdfast") }

// txInput reads what a transaction's workflow was started with.
func txInput(ctx context.Context, t *server.Temporal, id, run string) (txflow.Input, error) {
	var in txflow.Input
	err := t.InputOf(ctx, id, run, &in)
	return in, err
}
