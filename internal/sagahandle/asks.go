package sagahandle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

const (
	// slack is by how much two servers' clocks may be apart, and how long the processes of an earlier
	// version may go on after the first one of this version.
	slack = 24 * time.Hour
	// askAgain is how long sagas are looked for until it is tried again to know whether they have to be.
	askAgain = time.Minute
)

// asking remembers, by a saga's name, whether a saga that gathers has to be looked for in Temporal.
type asking struct {
	mu    sync.Mutex
	known map[string]asked
}

type asked struct {
	asks  bool
	until time.Time // zero: for good
}

// asks reports whether a saga of this name that has no begin row may have a workflow all the same: then
// it is looked for, before it gathers. The database tells: processes that may start one without the row
// have noted that before, see [barrier.NoteNoBeginRows].
func (h *Handles) asks(ctx context.Context, name string) bool {
	a, now := &h.asking, time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	was, known := a.known[name]
	if known && (was.until.IsZero() || now.Before(was.until)) {
		return was.asks
	}
	if a.known == nil {
		a.known = map[string]asked{}
	}
	a.known[name] = asked{asks: true, until: now.Add(askAgain)} // for those that come meanwhile
	a.mu.Unlock()
	asks, err := h.mayLackRow(ctx, name)
	a.mu.Lock()
	if err == nil {
		a.known[name] = asked{asks: asks}
	}
	return asks || err != nil
}

func (h *Handles) mayLackRow(ctx context.Context, name string) (bool, error) {
	n := barrier.SagaName{Prefix: h.o.Prefix, Group: h.o.Group, Name: name}
	if strings.ContainsAny(name, `"'\`) {
		return true, nil
	}
	rows, err := barrier.ReadBeginRows(ctx, h.o.DB, n)
	if errors.Is(err, holdfast.ErrNotFound) { // nobody has started one, or an earlier version has
		var any bool
		if any, err = h.listed(ctx, name, ""); err == nil {
			err = barrier.NoteBeginRows(ctx, h.o.DB, n, !any)
		}
		if err == nil {
			rows, err = barrier.ReadBeginRows(ctx, h.o.DB, n)
		}
	}
	switch {
	case err != nil:
		return true, err
	case rows.Always:
		return false, nil
	case rows.Since.IsZero():
		return true, barrier.NoteBeginRows(ctx, h.o.DB, n, false)
	}
	kept, err := h.retention(ctx)
	if err != nil || rows.Age < kept+slack {
		return true, err
	}
	open, err := h.listed(ctx, name, fmt.Sprintf(` AND ExecutionStatus = "Running" AND StartTime < "%s"`,
		rows.Since.Add(slack).UTC().Format(time.RFC3339)))
	if err != nil || open {
		return true, err
	}
	return false, barrier.NoteAlwaysBeginRows(ctx, h.o.DB, n, rows)
}

// listed reports whether Temporal lists a workflow of a saga of this name, and one that meets more.
func (h *Handles) listed(ctx context.Context, name, more string) (bool, error) {
	page, err := h.o.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1,
		Query: fmt.Sprintf(`WorkflowType = "%s" AND TaskQueue = "%s" AND %s = "%s"%s`, sagas.Name,
			workflows.TaskQueue(h.o.Prefix, h.o.Group), workflows.AttributeTopic, name, more)})
	return len(page.GetExecutions()) > 0, err
}

// retention is how long Temporal keeps workflows that have ended.
func (h *Handles) retention(ctx context.Context) (time.Duration, error) {
	ask := &workflowservice.CountWorkflowExecutionsRequest{Query: "WorkflowId = 'holdfast'"}
	if _, err := h.o.Temporal.CountWorkflow(ctx, ask); err != nil { // which tells the client's namespace
		return 0, err
	}
	d, err := h.o.Temporal.WorkflowService().DescribeNamespace(ctx,
		&workflowservice.DescribeNamespaceRequest{Namespace: ask.Namespace})
	return d.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(), err
}
