package transactions

import (
	"context"
	"fmt"
	"sync"

	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// Members returns where the transactions of the workflow r stand: of a completed
// one as its result says, of another one as far as its history tells. One that
// is in trouble is asked first. What goes on in a workflow of its own, after the
// shared one was lost, has left.
func Members(ctx context.Context, t *server.Temporal, r Row,
	s enumspb.WorkflowExecutionStatus) ([]txflow.MemberStatus, error) {
	var status txflow.Status
	switch {
	case s == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		if err := t.GetWorkflow(ctx, r.WorkflowID, r.RunID).Get(ctx, &status); err != nil {
			return nil, fmt.Errorf("its result cannot be read: %w", err)
		}
		return status.Transactions, nil
	case s == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && r.State != server.StateRunning:
		if t.AskStatus(ctx, r.WorkflowID, r.RunID, &status) == nil {
			return status.Transactions, nil
		}
	}
	told, _, err := readStory(ctx, t, r.WorkflowID, r.RunID, "")
	if err != nil {
		return nil, err
	}
	return toldMembers(ctx, t, r, told, s)
}

// toldMembers returns where the transactions of the workflow r stand as far as
// its history tells.
func toldMembers(ctx context.Context, t *server.Temporal, r Row, told history.Story,
	s enumspb.WorkflowExecutionStatus) ([]txflow.MemberStatus, error) {
	all := told.Stands(r.State)
	if !server.IsLost(s) {
		return all, nil
	}
	own, err := ownWorkflows(ctx, t, r.WorkflowID, Undecided(all))
	if err != nil {
		return nil, err
	}
	for i, m := range all {
		if own[m.ID] {
			all[i].State, all[i].Reason = workflows.Left, "its workflow was "+r.State+", and it goes on in one of its own"
		}
	}
	return all, nil
}

// Undecided are the IDs of the members that have not ended.
func Undecided(all []txflow.MemberStatus) []string {
	var ids []string
	for _, m := range all {
		if !m.State.Final() {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// ownWorkflows returns which transactions of the workflow shared have a workflow of
// their own.
func ownWorkflows(ctx context.Context, t *server.Temporal, shared string, txs []string) (map[string]bool, error) {
	var mu sync.Mutex
	found := map[string]bool{}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(server.ResultsAtOnce)
	for _, tx := range txs {
		all.Go(func() error {
			id := server.OwnID(shared, tx)
			info, err := t.Latest(ctx, id)
			if err != nil || info == nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			found[tx] = true
			return nil
		})
	}
	return found, all.Wait()
}

// readStory reads a workflow's history. only, where it is not empty, is the one
// transaction whose steps are told.
func readStory(ctx context.Context, t *server.Temporal, id, run, only string) (told history.Story,
	cut bool, err error) {
	events, cut, err := t.History(ctx, id, run)
	if err != nil {
		return history.Story{}, false, err
	}
	return history.Read(events, t.Data, only), cut, nil
}
