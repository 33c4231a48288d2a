package deadletters

import (
	"context"
	"io"
	"strconv"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// Row is a dead letter in a list.
type Row struct {
	ID       string `json:"id"`
	Consumer string `json:"consumer,omitempty"`
	Topic    string `json:"topic,omitempty"`
	Key      string `json:"key,omitempty"`
	State    string `json:"state"`
	Class    string `json:"class,omitempty"`
	// Reason is the last error, shortened.
	Reason     string     `json:"reason,omitempty"`
	Attempts   int        `json:"attempts,omitempty"`
	Started    time.Time  `json:"started"`
	Closed     *time.Time `json:"closed,omitempty"`
	WorkflowID string     `json:"workflow_id"`
	RunID      string     `json:"run_id"`

	owner     string // the consumer, or the queue of what has none
	taskQueue string
	RunStatus enumspb.WorkflowExecutionStatus `json:"-"`
}

// PrintRows writes dead letters as a table.
func PrintRows(w io.Writer, rows []Row, now time.Time) error {
	if len(rows) == 0 {
		text.Printf(w, "No dead letters.\n")
		return nil
	}
	t := text.NewTable(w, "MESSAGE", "CONSUMER", "STATE", "TOPIC", "KEY", "AGE", "TRIES", "CLASS", "ERROR")
	for _, r := range rows {
		t.Row(r.ID, r.owner, r.State, text.OrDash(r.Topic), text.OrDash(r.Key), text.Age(now.Sub(r.Started)),
			strconv.Itoa(r.Attempts), text.OrDash(r.Class), text.OrDash(text.CutText(r.Reason, 80)))
	}
	return t.Flush()
}

// Each calls visit for each dead letter that f means, the open ones first and
// then the latest, until it returns false. Where the filter bounds how many are looked at, and
// there are more, or ctx's time is over before, the error is a *server.ScannedError.
func Each(ctx context.Context, t *server.Temporal, f Filter, size int, visit func(Row) bool) error {
	if f.Class != "" || f.ErrorText != "" || f.ErrorIs != "" {
		size = server.PageLimit // only matches can tell
	}
	seen, scanned := map[string]bool{}, &server.ScannedError{}
	err := t.EachPage(ctx, "dead letters", f.query(), size,
		func(infos []*workflowpb.WorkflowExecutionInfo, last bool) (bool, error) {
			var rows []Row
			for _, info := range infos {
				r := deadRowOf(t, info)
				if !seen[r.WorkflowID] && f.matches(r) { // seen: an earlier run of it
					seen[r.WorkflowID] = true
					rows = append(rows, r)
				}
			}
			rows, err := completeRows(ctx, t, rows)
			for _, r := range rows {
				if err != nil || !visit(r) {
					return false, err
				}
			}
			if scanned.Note(infos); err == nil && f.Scan > 0 && scanned.Seen >= f.Scan && !last {
				err = scanned
			}
			return true, err
		})
	if f.Scan > 0 {
		return scanned.Bounded(ctx, err)
	}
	return err
}

// completeRows asks for what the visibility store did not say: whether what was
// ended from outside has been started again since, which leaves it out, and how
// a letter ended that has no state.
func completeRows(ctx context.Context, t *server.Temporal, rows []Row) ([]Row, error) {
	all, within := errgroup.WithContext(ctx)
	all.SetLimit(server.ResultsAtOnce)
	for i, r := range rows {
		if r.RunStatus != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED || r.State != "completed" {
			continue
		}
		all.Go(func() error {
			var result deadflow.Status
			if t.GetWorkflow(within, r.WorkflowID, r.RunID).Get(within, &result) == nil {
				rows[i].State = string(result.State)
			}
			return within.Err()
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return server.WithoutEarlierRuns(ctx, t, rows, func(r Row) (id, run string, ended bool) {
		return r.WorkflowID, r.RunID, server.IsLost(r.RunStatus)
	})
}

// deadRowOf is what Temporal says of a dead letter without asking its workflow.
func deadRowOf(t *server.Temporal, info *workflowpb.WorkflowExecutionInfo) Row {
	r := Row{WorkflowID: info.GetExecution().GetWorkflowId(), RunID: info.GetExecution().GetRunId(),
		Started: info.GetStartTime().AsTime(),
		State:   server.ExecutionState(info.GetStatus()), taskQueue: info.GetTaskQueue(), RunStatus: info.GetStatus()}
	r.owner, r.ID = splitDeadID(r.WorkflowID)
	if info.GetCloseTime() != nil {
		closed := info.GetCloseTime().AsTime()
		r.Closed = &closed
	}
	var state string
	var keys []string
	t.Attribute(info, workflows.AttributeTopic, &r.Topic)
	if t.Attribute(info, workflows.AttributeKey, &keys); len(keys) > 0 {
		r.Key = keys[0]
	}
	if t.Attribute(info, workflows.AttributeState, &state); state != "" && !server.IsLost(r.RunStatus) {
		r.State = state
	}
	memo := func(name string, v any) {
		if p := info.GetMemo().GetFields()[name]; p != nil {
			_ = t.Data.FromPayload(p, v) // what cannot be read is not shown
		}
	}
	memo(deadflow.MemoConsumer, &r.Consumer)
	memo(deadflow.MemoClass, &r.Class)
	memo(deadflow.MemoReason, &r.Reason)
	memo(deadflow.MemoAttempts, &r.Attempts)
	return r
}
