package cli

import (
	"context"
	"io"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// tellSagas adds to sagas what only their workflows know. Where no process answers, it
// is missing.
func tellSagas(ctx context.Context, t *temporalServer, rows []sagaRow) {
	var queues []string
	for _, r := range rows {
		queues = append(queues, r.taskQueue)
	}
	nobody, err := t.deserted(ctx, queues)
	if err != nil {
		return
	}
	var all errgroup.Group
	all.SetLimit(resultsAtOnce)
	for i := range rows {
		r := &rows[i]
		all.Go(func() error {
			var status workflows.SagaStatus
			var err error
			switch {
			case r.status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && !nobody[r.taskQueue]:
				err = t.askStatus(ctx, r.WorkflowID, r.RunID, &status)
			case r.status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED && r.State != core.StateCompleted:
				err = t.readResult(ctx, r.WorkflowID, r.RunID, &status)
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

// printSagaRows writes sagas as a table.
func printSagaRows(w io.Writer, rows []sagaRow, now time.Time) error {
	if len(rows) == 0 {
		printf(w, "No sagas.\n")
		return nil
	}
	t := newTable(w, "SAGA", "STATE", "STEP", "STARTED", "AGE", "REASON")
	for _, r := range rows {
		t.row(r.ID, r.stateText(), orDash(r.Step), r.Started.In(now.Location()).Format(dateTime), age(now.Sub(r.Started)), orDash(cutText(r.Reason, 80)))
	}
	return t.flush()
}

// stateText is the state, and that it came after the end.
func (r sagaRow) stateText() string {
	said := r.State
	if r.UndoneLater {
		said += " (undone later)"
	}
	if len(r.UnknownOutside) > 0 {
		said += " (unknown outside: " + join(r.UnknownOutside) + ")"
	}
	return said
}
