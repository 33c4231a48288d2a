package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// PageSize is how many workflows are asked for at once.
func PageSize(limit int) int {
	if limit == 0 {
		return PageLimit
	}
	return min(max(limit, 10), 200)
}

// listPause is how long a busy Temporal is left alone before it is asked again.
const listPause = 200 * time.Millisecond

// ListWorkflow is the client's, with all the time that the command has: the client
// gives up one call after ten seconds, however long that is.
func (t *Temporal) ListWorkflow(ctx context.Context,
	r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	for {
		page, err := t.Client.ListWorkflow(ctx, r)
		if err == nil || !TimedOut(err) {
			return page, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(listPause):
		}
	}
}

// ListError is CannotList for transactions.
func (t *Temporal) ListError(err error) error { return t.CannotList("transactions", err) }

// CannotList says why Temporal did not list: that the time is over is not its fault.
func (t *Temporal) CannotList(what string, err error) error {
	err = fmt.Errorf("list %s: %w", what, err)
	if TimedOut(err) {
		return text.WithRemedy(err, "Temporal is busy, or there are too many for the command's time: narrow it down, or "+
			"raise --timeout")
	}
	return text.WithRemedy(err, "%s says whether Temporal has what Holdfast needs", t.Code("doctor", ""))
}

// Attribute reads a search attribute; one that is not there leaves v as it is.
func (t *Temporal) Attribute(info *workflowpb.WorkflowExecutionInfo, name string, v any) {
	if p := info.GetSearchAttributes().GetIndexedFields()[name]; p != nil {
		_ = SearchAttributes.FromPayload(p, v) // what cannot be read is not shown
	}
}

// ExecutionState is a workflow's status in this program's words.
func ExecutionState(s enumspb.WorkflowExecutionStatus) string {
	if s == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return StateRunning
	}
	for name, status := range ClosedStates {
		if s == status {
			return name
		}
	}
	return "completed"
}

// PageLimit is how many dead letters are asked for at once: Temporal's limit.
const PageLimit = 1000

// RecentLimit is how many transactions are looked at for the names of groups.
const RecentLimit = 1000

// Ambiguous is the error of an ID that means several.
func Ambiguous(id, what string, ids []string) error {
	return text.WithRemedy(AmbiguousError{ID: id, What: what, IDs: ids}, "give one of these IDs instead")
}

// AmbiguousError says that an ID or a key means several.
type AmbiguousError struct {
	ID, What string
	IDs      []string // what it means
}

func (e AmbiguousError) Error() string {
	return fmt.Sprintf("%q means %d %s: %s", e.ID, len(e.IDs), e.What, strings.Join(e.IDs, ", "))
}

// Page lists the first workflows that query finds, size at most.
func (t *Temporal) Page(ctx context.Context, query string, size int) ([]*workflowpb.WorkflowExecutionInfo, error) {
	page, err := t.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: t.Namespace,
		PageSize: int32(size), Query: query})
	if err != nil {
		return nil, t.ListError(err)
	}
	return page.GetExecutions(), nil
}

// EachPage calls visit with the workflows that query finds, size at most at a time, until
// it returns false or an error; last says that there are no more. what is what they are
// of, for the error.
func (t *Temporal) EachPage(ctx context.Context, what, query string, size int,
	visit func(infos []*workflowpb.WorkflowExecutionInfo, last bool) (goOn bool, err error)) error {
	var token []byte
	for {
		page, err := t.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: t.Namespace,
			PageSize: int32(size), NextPageToken: token, Query: query})
		if err != nil {
			return t.CannotList(what, err)
		}
		token = page.GetNextPageToken()
		goOn, err := visit(page.GetExecutions(), len(token) == 0)
		if err != nil || !goOn || len(token) == 0 {
			return err
		}
	}
}

// ScannedError ends a look at workflows that has seen as many as it may, or that took as long
// as it may. Its zero value has seen none.
type ScannedError struct {
	// Seen counts those that were looked at, the open ones first, the latest first of
	// each.
	Seen int
	// Open says that the last one is open: Since is when it was started, else when it
	// ended.
	Open  bool
	Since time.Time
}

func (e *ScannedError) Error() string {
	return fmt.Sprintf("there are more than the %s that were looked at: narrow it down", text.Plural(e.Seen, "workflow"))
}

// Note notes that a page was looked at.
func (e *ScannedError) Note(infos []*workflowpb.WorkflowExecutionInfo) {
	if len(infos) == 0 {
		return
	}
	last := infos[len(infos)-1]
	e.Seen += len(infos)
	if e.Open = last.GetCloseTime() == nil; e.Open {
		e.Since = last.GetStartTime().AsTime()
	} else {
		e.Since = last.GetCloseTime().AsTime()
	}
}

// Rest says for people what was looked at, and what was not; the location of now is the time
// zone.
func (e *ScannedError) Rest(now time.Time) string {
	since := e.Since.In(now.Location()).Format(text.DateTime)
	seen := fmt.Sprintf("those that are open, and those that ended since %s", since)
	if e.Open {
		seen = fmt.Sprintf("of those that are open, such as were started since %s", since)
	}
	return fmt.Sprintf("Not all were looked at, but %s: %s. Narrow it down to see others.",
		text.Plural(e.Seen, "workflow"), seen)
}

// Bounded turns the error of a look into the ScannedError if the time of ctx was over after
// something was seen.
func (e *ScannedError) Bounded(ctx context.Context, err error) error {
	if err != nil && e.Seen > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return e
	}
	return err
}

// Pages lists workflows, limit at most; more says that there are others.
func (t *Temporal) Pages(ctx context.Context, query string, limit int) (infos []*workflowpb.WorkflowExecutionInfo,
	more bool, err error) {
	err = t.EachPage(ctx, "transactions", query, PageLimit,
		func(page []*workflowpb.WorkflowExecutionInfo, last bool) (bool, error) {
			infos, more = append(infos, page...), !last
			return len(infos) < limit, nil
		})
	return infos, more && err == nil, err
}

// Latest describes the last run of a workflow; nil: there is none.
func (t *Temporal) Latest(ctx context.Context, id string) (*workflowpb.WorkflowExecutionInfo, error) {
	d, err := t.DescribeWorkflowExecution(ctx, id, "")
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &missing):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for workflow %s: %w", id, err)
	}
	return d.GetWorkflowExecutionInfo(), nil
}

// WithoutEarlierRuns leaves out the rows that go on in a newer run: the visibility store
// lists each run. run says of which workflow and run a row is, where its run was ended
// from outside; else nothing is asked.
func WithoutEarlierRuns[R any](ctx context.Context, t *Temporal, rows []R,
	run func(R) (id, run string, ended bool)) ([]R, error) {
	again := make([]bool, len(rows))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(ResultsAtOnce)
	for i, r := range rows {
		id, run, ended := run(r)
		if !ended {
			continue
		}
		all.Go(func() error {
			d, err := t.DescribeWorkflowExecution(ctx, id, "")
			if err != nil {
				return fmt.Errorf("look for workflow %s: %w", id, err)
			}
			again[i] = d.GetWorkflowExecutionInfo().GetExecution().GetRunId() != run
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	kept := rows[:0]
	for i, r := range rows {
		if !again[i] {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

const (
	ResultsAtOnce = 8    // results that are read at the same time
	ScanLimit     = 2000 // workflows that are looked at for one list
)
