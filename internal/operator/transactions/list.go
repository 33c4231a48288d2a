package transactions

import (
	"context"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// Row is a transaction in a list.
type Row struct {
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

// List returns the transactions that f means, limit at most (0: all), and, if there
// may be more, what to tell about that.
func List(ctx context.Context, t *server.Temporal, f Filter, limit int) (rows []Row, more string, err error) {
	rows = []Row{}
	seen, silent, listed := 0, 0, map[string]bool{}
	size := server.PageSize(limit)
	if limit > 0 {
		size++ // the one more tells, without a further page, that there are more
	}
	var token []byte
	for {
		page, err := t.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: t.Namespace,
			PageSize: int32(size), NextPageToken: token, Query: f.Query()})
		if err != nil {
			return nil, "", t.ListError(err)
		}
		found, err := txRows(ctx, t, page.GetExecutions(), f)
		if err != nil {
			return nil, "", err
		}
		if f.Reasons || f.ErrorText != "" {
			explainRows(ctx, t, found)
		}
		for _, r := range found {
			if len(f.States) > 0 && !slices.Contains(f.States, r.State) {
				continue // the list was late
			}
			if f.ErrorText != "" && r.Reason == "" && r.Closed == nil && r.State != server.StateRunning {
				silent++
			}
			if f.ErrorText != "" && !text.HasError(r.Reason, f.ErrorText) {
				continue
			} else if id := server.OwnID(r.WorkflowID, r.Tx); r.Tx != "" && listed[id] {
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
			return rows, fmt.Sprintf("%s of which nobody says why: no process of the group answers.",
				text.Plural(silent, "transaction")), nil
		case len(token) == 0:
			return rows, "", nil
		case limit == 0:
		case len(rows) == limit && len(f.States) == 0:
			return rows, fmt.Sprintf("There may be more than %d: raise --limit, or narrow it down.", limit), nil
		case seen >= server.ScanLimit:
			return rows, fmt.Sprintf("Stopped after %d workflows: narrow it down with --group, --topic, --key or "+
				"--since.", seen), nil
		}
	}
}

// txRows turns workflows into those of their transactions that f means, in their
// order.
func txRows(ctx context.Context, t *server.Temporal, infos []*workflowpb.WorkflowExecutionInfo,
	f Filter) ([]Row, error) {
	of := make([][]Row, len(infos))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(server.ResultsAtOnce)
	for i, info := range infos {
		group.Go(func() error {
			known := InfoRow(t, info)
			if f.matches(known) {
				of[i] = f.keeps(known, RowsOf(ctx, t, known, info.GetStatus()))
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var rows []Row
	for _, r := range of {
		rows = append(rows, r...)
	}
	return rows, nil
}

// RowsOf returns the transactions of the workflow r: of a completed one as
// its result says.
func RowsOf(ctx context.Context, t *server.Temporal, r Row, status enumspb.WorkflowExecutionStatus) []Row {
	if status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED && !server.IsShared(r.WorkflowID) {
		return []Row{r}
	}
	members, err := Members(ctx, t, r, status)
	if err != nil {
		r.Reason = text.Of(err)
		return []Row{r}
	}
	var rows []Row
	for _, m := range members {
		r.Tx, r.State, r.Reason, r.Topics, r.Keys = m.ID, string(m.State), m.Reason, m.Topics, m.Keys
		rows = append(rows, r)
	}
	return rows
}

// InfoRow is what the visibility store knows of a workflow.
func InfoRow(t *server.Temporal, info *workflowpb.WorkflowExecutionInfo) Row {
	r := Row{WorkflowID: info.GetExecution().GetWorkflowId(), RunID: info.GetExecution().GetRunId(),
		Started: info.GetStartTime().AsTime(), State: server.ExecutionState(info.GetStatus()), taskQueue: info.GetTaskQueue()}
	r.Group, r.Tx = server.SplitWorkflowID(r.WorkflowID)
	if info.GetCloseTime() != nil {
		closed := info.GetCloseTime().AsTime()
		r.Closed = &closed
	}
	var topic, state string
	t.Attribute(info, workflows.AttributeTopic, &topic)
	t.Attribute(info, workflows.AttributeKey, &r.Keys)
	if t.Attribute(info, workflows.AttributeState, &state); state != "" && r.State == server.StateRunning {
		r.State = state
	}
	if topic != "" {
		r.Topics = []string{topic}
	}
	return r
}

// explainRows adds to transactions in trouble why they are, which only their workflows
// know. Where no process answers, it is missing.
func explainRows(ctx context.Context, t *server.Temporal, rows []Row) {
	inTrouble := func(r Row) bool {
		return r.Reason == "" && r.Closed == nil && r.State != server.StateRunning && !server.IsShared(r.WorkflowID)
	}
	var queues []string
	for _, r := range rows {
		if inTrouble(r) {
			queues = append(queues, workflows.TaskQueue(t.Prefix, r.Group))
		}
	}
	nobody, err := t.Deserted(ctx, queues)
	if err != nil {
		return
	}
	var all errgroup.Group
	all.SetLimit(server.ResultsAtOnce)
	for i := range rows {
		r := &rows[i]
		if !inTrouble(*r) || nobody[workflows.TaskQueue(t.Prefix, r.Group)] {
			continue
		}
		all.Go(func() error {
			var status txflow.Status
			if t.AskStatus(ctx, r.WorkflowID, r.RunID, &status) == nil && len(status.Transactions) == 1 {
				m := status.Transactions[0]
				r.State, r.Reason = string(m.State), m.Reason
			}
			return nil
		})
	}
	_ = all.Wait()
}
