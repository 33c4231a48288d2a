package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// pageSize is how many workflows are asked for at once.
func pageSize(limit int) int {
	if limit == 0 {
		return deadPage
	}
	return min(max(limit, 10), 200)
}

// listPause is how long a busy Temporal is left alone before it is asked again.
const listPause = 200 * time.Millisecond

// ListWorkflow is the client's, with all the time that the command has: the client
// gives up one call after ten seconds, however long that is.
func (t *temporalServer) ListWorkflow(ctx context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	for {
		page, err := t.Client.ListWorkflow(ctx, r)
		if err == nil || !timedOut(err) {
			return page, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(listPause):
		}
	}
}

func (t *temporalServer) listError(err error) error { return t.cannotList("transactions", err) }

// cannotList says why Temporal did not list: that the time is over is not its fault.
func (t *temporalServer) cannotList(what string, err error) error {
	err = fmt.Errorf("list %s: %w", what, err)
	if timedOut(err) {
		return withRemedy(err, "Temporal is busy, or there are too many for the command's time: narrow it down, or raise --timeout")
	}
	return withRemedy(err, "%s says whether Temporal has what Holdfast needs", t.code("doctor", ""))
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

// deadPage is how many dead letters are asked for at once: Temporal's limit.
const deadPage = 1000

// recentLimit is how many transactions are looked at for the names of groups.
const recentLimit = 1000

func ambiguous(id, what string, ids []string) error {
	return withRemedy(fmt.Errorf("%q means %d %s: %s", id, len(ids), what, strings.Join(ids, ", ")), "give one of these IDs instead")
}

func (t *temporalServer) page(ctx context.Context, query string, size int) ([]*workflowpb.WorkflowExecutionInfo, error) {
	page, err := t.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: t.namespace, PageSize: int32(size), Query: query})
	if err != nil {
		return nil, t.listError(err)
	}
	return page.GetExecutions(), nil
}

// pages lists workflows, limit at most; more says that there are others.
func (t *temporalServer) pages(ctx context.Context, query string, limit int) (infos []*workflowpb.WorkflowExecutionInfo, more bool, err error) {
	var token []byte
	for {
		page, err := t.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: t.namespace,
			PageSize: deadPage, NextPageToken: token, Query: query})
		if err != nil {
			return infos, false, t.listError(err)
		}
		infos = append(infos, page.GetExecutions()...)
		token = page.GetNextPageToken()
		if len(token) == 0 || len(infos) >= limit {
			return infos, len(token) > 0, nil
		}
	}
}

const (
	resultsAtOnce = 8    // results that are read at the same time
	scanLimit     = 2000 // workflows that are looked at for one list
)
