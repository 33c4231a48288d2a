package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/workflows"
)

// row is a transaction in a list.
type row struct {
	Tx         string     `json:"tx"`
	Group      string     `json:"group"`
	State      string     `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	Topics     []string   `json:"topics,omitempty"`
	Keys       []string   `json:"keys,omitempty"`
	Started    time.Time  `json:"started"`
	Closed     *time.Time `json:"closed,omitempty"`
	WorkflowID string     `json:"workflow_id"`
	RunID      string     `json:"run_id"`

	taskQueue string
}

// listTxs returns the transactions that f means, limit at most (0: all), and, if there
// may be more, what to tell about that.
func listTxs(ctx context.Context, t *temporalServer, f filter, limit int) (rows []row, more string, err error) {
	rows = []row{}
	seen, silent, listed := 0, 0, map[string]bool{}
	var token []byte
	for {
		page, err := t.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: t.namespace,
			PageSize: int32(pageSize(limit)), NextPageToken: token, Query: f.query()})
		if err != nil {
			return nil, "", t.listError(err)
		}
		found, err := txRows(ctx, t, page.GetExecutions(), f)
		if err != nil {
			return nil, "", err
		}
		if f.reasons || f.errorText != "" {
			explainRows(ctx, t, found)
		}
		for _, r := range found {
			if len(f.states) > 0 && !slices.Contains(f.states, r.State) {
				continue // the list was late
			}
			if f.errorText != "" && r.Reason == "" && r.Closed == nil && r.State != stateRunning {
				silent++
			}
			if f.errorText != "" && !hasError(r.Reason, f.errorText) {
				continue
			} else if id := ownID(r.WorkflowID, r.Tx); r.Tx != "" && listed[id] {
				continue // what came before is where it stands
			} else {
				listed[id] = true
			}
			if len(rows) == limit && limit > 0 {
				return rows, fmt.Sprintf("There are more than %d: raise --limit, or narrow it down.", limit), nil
			}
			rows = append(rows, r)
		}
		seen += len(page.GetExecutions())
		token = page.GetNextPageToken()
		switch {
		case len(token) == 0 && silent > 0:
			return rows, fmt.Sprintf("%s of which nobody says why: no process of the group answers.", plural(silent, "transaction")), nil
		case len(token) == 0:
			return rows, "", nil
		case limit == 0:
		case len(rows) == limit && len(f.states) == 0:
			return rows, fmt.Sprintf("There may be more than %d: raise --limit, or narrow it down.", limit), nil
		case seen >= scanLimit:
			return rows, fmt.Sprintf("Stopped after %d workflows: narrow it down with --group, --topic, --key or --since.", seen), nil
		}
	}
}

// txRows turns workflows into those of their transactions that f means, in their
// order.
func txRows(ctx context.Context, t *temporalServer, infos []*workflowpb.WorkflowExecutionInfo, f filter) ([]row, error) {
	of := make([][]row, len(infos))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(resultsAtOnce)
	for i, info := range infos {
		group.Go(func() error {
			known := infoRow(t, info)
			if f.matches(known) {
				of[i] = f.keeps(known, workflowRows(ctx, t, known, info.GetStatus()))
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var rows []row
	for _, r := range of {
		rows = append(rows, r...)
	}
	return rows, nil
}

// workflowRows returns the transactions of the workflow r: of a completed one as
// its result says.
func workflowRows(ctx context.Context, t *temporalServer, r row, status enumspb.WorkflowExecutionStatus) []row {
	if status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED && !shared(r.WorkflowID) {
		return []row{r}
	}
	members, err := membersOf(ctx, t, r, status)
	if err != nil {
		r.Reason = text(err)
		return []row{r}
	}
	var rows []row
	for _, m := range members {
		r.Tx, r.State, r.Reason, r.Topics, r.Keys = m.ID, string(m.State), m.Reason, m.Topics, m.Keys
		rows = append(rows, r)
	}
	return rows
}

// infoRow is what the visibility store knows of a workflow.
func infoRow(t *temporalServer, info *workflowpb.WorkflowExecutionInfo) row {
	r := row{WorkflowID: info.GetExecution().GetWorkflowId(), RunID: info.GetExecution().GetRunId(),
		Started: info.GetStartTime().AsTime(), State: executionState(info.GetStatus()), taskQueue: info.GetTaskQueue()}
	r.Group, r.Tx = splitWorkflowID(r.WorkflowID)
	if info.GetCloseTime() != nil {
		closed := info.GetCloseTime().AsTime()
		r.Closed = &closed
	}
	var topic, state string
	t.attribute(info, workflows.AttributeTopic, &topic)
	t.attribute(info, workflows.AttributeKey, &r.Keys)
	if t.attribute(info, workflows.AttributeState, &state); state != "" && r.State == stateRunning {
		r.State = state
	}
	if topic != "" {
		r.Topics = []string{topic}
	}
	return r
}

// explainRows adds to transactions in trouble why they are, which only their workflows
// know. Where no process answers, it is missing.
func explainRows(ctx context.Context, t *temporalServer, rows []row) {
	inTrouble := func(r row) bool {
		return r.Reason == "" && r.Closed == nil && r.State != stateRunning && !shared(r.WorkflowID)
	}
	var queues []string
	for _, r := range rows {
		if inTrouble(r) {
			queues = append(queues, workflows.TaskQueue(t.prefix, r.Group))
		}
	}
	nobody, err := t.deserted(ctx, queues)
	if err != nil {
		return
	}
	var all errgroup.Group
	all.SetLimit(resultsAtOnce)
	for i := range rows {
		r := &rows[i]
		if !inTrouble(*r) || nobody[workflows.TaskQueue(t.prefix, r.Group)] {
			continue
		}
		all.Go(func() error {
			var status workflows.Status
			if t.askStatus(ctx, r.WorkflowID, r.RunID, &status) == nil && len(status.Transactions) == 1 {
				m := status.Transactions[0]
				r.State, r.Reason = string(m.State), m.Reason
			}
			return nil
		})
	}
	_ = all.Wait()
}
