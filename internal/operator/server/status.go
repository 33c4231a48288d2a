package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/holdfastmq/holdfast/workflows"
)

// QueryTimeout is how long an answer is waited for.
const QueryTimeout = 5 * time.Second

// AskStatus asks a workflow where it stands. Of one that was closed, a process
// answers too, from its history. Temporal may give up a question early, although
// somebody would answer it: then it is asked again.
func (t *Temporal) AskStatus(ctx context.Context, id, run string, status any) error {
	ctx, cancel := context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	for {
		answer, err := t.QueryWorkflow(ctx, id, run, workflows.QueryStatus)
		if err == nil {
			return answer.Get(status)
		}
		if !TimedOut(err) {
			return err
		}
		pause := time.NewTimer(FirstPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

// ReadResult reads the result of a completed workflow.
func (t *Temporal) ReadResult(ctx context.Context, id, run string, status any) error {
	ctx, cancel := context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	return t.GetWorkflow(ctx, id, run).Get(ctx, status)
}

// Stands reads where a workflow stands: one call where it has completed, two where
// it runs.
func (t *Temporal) Stands(ctx context.Context, id string, status any) error {
	ctx, cancel := context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	it := t.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if it.HasNext() {
		last, err := it.Next()
		if err != nil {
			return err
		}
		if done := last.GetWorkflowExecutionCompletedEventAttributes(); done != nil {
			return t.Data.FromPayloads(done.GetResult(), status)
		}
	}
	return t.AskStatus(ctx, id, "", status)
}

// TimedOut reports whether err is the end of the command's time, as the SDK's
// many layers put it.
func TimedOut(err error) bool {
	var update *client.WorkflowUpdateServiceTimeoutOrCanceledError
	var call *serviceerror.DeadlineExceeded
	return errors.As(err, &update) || errors.As(err, &call) || errors.Is(err, context.DeadlineExceeded)
}

// IsLost reports whether a workflow was closed without deciding: somebody
// terminated it, or it failed.
func IsLost(s enumspb.WorkflowExecutionStatus) bool {
	for _, lost := range ClosedStates {
		if s == lost {
			return true
		}
	}
	return false
}

// InputOf reads what a workflow was started with.
func (t *Temporal) InputOf(ctx context.Context, id, run string, in any) error {
	it := t.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !it.HasNext() {
		return fmt.Errorf("workflow %s has no history", id)
	}
	first, err := it.Next()
	if err == nil {
		err = t.Data.FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), in)
	}
	if err != nil {
		return fmt.Errorf("read the input of workflow %s: %w", id, err)
	}
	return nil
}

// EventLimit is how many events are read of one history.
const EventLimit = 5000

// History reads a workflow's events, up to a limit.
func (t *Temporal) History(ctx context.Context, id, run string) (events []*historypb.HistoryEvent,
	cut bool, err error) {
	it := t.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for it.HasNext() {
		if len(events) == EventLimit {
			return events, true, nil
		}
		e, err := it.Next()
		if err != nil {
			return nil, false, fmt.Errorf("read the history of workflow %s: %w", id, err)
		}
		events = append(events, e)
	}
	return events, false, nil
}

// UiLink is the address of a workflow's history in Temporal's web UI, or empty
// if the base is not known.
func UiLink(base, namespace, workflowID, runID string) string {
	if base == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/namespaces/" + url.PathEscape(namespace) + "/workflows/" +
		url.PathEscape(workflowID) + "/" + url.PathEscape(runID) + "/history"
}

// Pauses between looks at what is not over.
const (
	FirstPause = 100 * time.Millisecond
	MostPause  = 2 * time.Second
)
