package sagas

import (
	"context"
	"io"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// Tell adds to sagas what only their workflows know. Where no process answers, it
// is missing.
func Tell(ctx context.Context, t *server.Temporal, rows []Row) {
	var queues []string
	for _, r := range rows {
		queues = append(queues, r.taskQueue)
	}
	nobody, err := t.Deserted(ctx, queues)
	if err != nil {
		return
	}
	var all errgroup.Group
	all.SetLimit(server.ResultsAtOnce)
	for i := range rows {
		r := &rows[i]
		all.Go(func() error {
			var status sagaflow.Status
			var err error
			switch {
			case r.Cohort != "": // it tells nothing of one of them
				return nil
			case r.status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && !nobody[r.taskQueue]:
				err = t.AskStatus(ctx, r.WorkflowID, r.RunID, &status)
			case r.status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED && r.State != core.StateCompleted:
				err = t.ReadResult(ctx, r.WorkflowID, r.RunID, &status)
			default:
				return nil
			}
			if err == nil && status.State != "" {
				r.State, r.Step, r.Reason, r.Version = status.State, status.Step, status.Reason, status.Version
				r.UnknownOutside = unknownOutside(status)
			}
			return nil
		})
	}
	_ = all.Wait()
}

// PrintRows writes sagas as a table.
func PrintRows(w io.Writer, rows []Row, now time.Time) error {
	if len(rows) == 0 {
		text.Printf(w, "No sagas.\n")
		return nil
	}
	t := text.NewTable(w, "SAGA", "STATE", "STEP", "STARTED", "AGE", "REASON")
	for _, r := range rows {
		t.Row(r.ID, r.stateText(), text.OrDash(r.Step), r.Started.In(now.Location()).Format(text.DateTime),
			text.Age(now.Sub(r.Started)), text.OrDash(text.CutText(r.Reason, 80)))
	}
	return t.Flush()
}

// stateText is the state, and that it came after the end.
func (r Row) stateText() string {
	said := r.State
	if r.UndoneLater {
		said += " (undone later)"
	}
	if len(r.UnknownOutside) > 0 {
		said += " (unknown outside: " + text.Join(r.UnknownOutside) + ")"
	}
	return said
}
