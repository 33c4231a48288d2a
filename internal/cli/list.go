package cli

import (
	"context"
	"fmt"
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
}

const (
	resultsAtOnce = 8    // results that are read at the same time
	scanLimit     = 2000 // workflows that are looked at for one list
)

// list returns the transactions that f means, limit at most, and, if there may
// be more, what to tell about that.
func (t *temporalServer) list(ctx context.Context, f filter, limit int) (rows []row, more string, err error) {
	rows = []row{}
	seen, listed := 0, map[string]bool{}
	var token []byte
	for {
		page, err := t.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: t.namespace,
			PageSize: int32(min(max(limit, 10), 200)), NextPageToken: token, Query: f.query()})
		if err != nil {
			return nil, "", listError(err)
		}
		found, err := t.rows(ctx, page.GetExecutions(), f)
		if err != nil {
			return nil, "", err
		}
		for _, r := range found {
			if id := workflows.WorkflowID(r.Group, r.Tx); r.Tx != "" && listed[id] {
				continue // what came before is where it stands
			} else {
				listed[id] = true
			}
			if len(rows) == limit {
				return rows, fmt.Sprintf("There are more than %d: raise --limit, or narrow it down.", limit), nil
			}
			rows = append(rows, r)
		}
		seen += len(page.GetExecutions())
		token = page.GetNextPageToken()
		switch {
		case len(token) == 0:
			return rows, "", nil
		case len(rows) == limit && f.state == "":
			return rows, fmt.Sprintf("There may be more than %d: raise --limit, or narrow it down.", limit), nil
		case seen >= scanLimit:
			return rows, fmt.Sprintf("Stopped after %d workflows: narrow it down with --group, --topic, --key or --since.", seen), nil
		}
	}
}

func listError(err error) error {
	return withRemedy(fmt.Errorf("list transactions: %w", err), "`holdfast doctor` says whether Temporal has what Holdfast needs")
}

// rows turns workflows into those of their transactions that f means, in their
// order.
func (t *temporalServer) rows(ctx context.Context, infos []*workflowpb.WorkflowExecutionInfo, f filter) ([]row, error) {
	of := make([][]row, len(infos))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(resultsAtOnce)
	for i, info := range infos {
		group.Go(func() error {
			known := t.infoRow(info)
			if f.matches(known) {
				of[i] = f.keeps(known, t.workflowRows(ctx, known, info.GetStatus()))
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
func (t *temporalServer) workflowRows(ctx context.Context, r row, status enumspb.WorkflowExecutionStatus) []row {
	if status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED && !shared(r.WorkflowID) {
		return []row{r}
	}
	members, err := t.members(ctx, r, status)
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
func (t *temporalServer) infoRow(info *workflowpb.WorkflowExecutionInfo) row {
	r := row{WorkflowID: info.GetExecution().GetWorkflowId(), RunID: info.GetExecution().GetRunId(),
		Started: info.GetStartTime().AsTime(), State: executionState(info.GetStatus())}
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

// attribute reads a search attribute; one that is not there leaves v as it is.
func (t *temporalServer) attribute(info *workflowpb.WorkflowExecutionInfo, name string, v any) {
	if p := info.GetSearchAttributes().GetIndexedFields()[name]; p != nil {
		_ = searchAttributes.FromPayload(p, v) // what cannot be read is not shown
	}
}

// executionState is a workflow's status in this program's words.
func executionState(s enumspb.WorkflowExecutionStatus) string {
	if s == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return stateRunning
	}
	for name, status := range closedStates {
		if s == status {
			return name
		}
	}
	return "completed"
}
