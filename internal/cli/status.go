package cli

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/holdfastmq/holdfast/workflows"
)

// queryTimeout is how long an answer is waited for.
const queryTimeout = 5 * time.Second

// askStatus asks a workflow where it stands. Of one that was closed, a process
// answers too, from its history. Temporal may give up a question early, although
// somebody would answer it: then it is asked again.
func (t *temporalServer) askStatus(ctx context.Context, id, run string, status any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	for {
		answer, err := t.QueryWorkflow(ctx, id, run, workflows.QueryStatus)
		if err == nil {
			return answer.Get(status)
		}
		if !timedOut(err) {
			return err
		}
		pause := time.NewTimer(firstPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

// readResult reads the result of a completed workflow.
func (t *temporalServer) readResult(ctx context.Context, id, run string, status any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return t.GetWorkflow(ctx, id, run).Get(ctx, status)
}

// stands reads where a workflow stands: one call where it has completed, two where
// it runs.
func (t *temporalServer) stands(ctx context.Context, id string, status any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	it := t.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if it.HasNext() {
		last, err := it.Next()
		if err != nil {
			return err
		}
		if done := last.GetWorkflowExecutionCompletedEventAttributes(); done != nil {
			return t.data.FromPayloads(done.GetResult(), status)
		}
	}
	return t.askStatus(ctx, id, "", status)
}
