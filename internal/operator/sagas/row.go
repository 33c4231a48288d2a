package sagas

import (
	"context"
	"encoding/json"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// Row is a saga in a list.
type Row struct {
	ID      string `json:"id"`
	Group   string `json:"group"`
	Name    string `json:"name"`
	Key     string `json:"key"`
	Version int    `json:"version,omitempty"`
	State   string `json:"state"`
	// Step is what State is about, Reason what is to be said of it.
	Step    string     `json:"step,omitempty"`
	Reason  string     `json:"reason,omitempty"`
	Started time.Time  `json:"started"`
	Closed  *time.Time `json:"closed,omitempty"`
	// UndoneLater says that it is undone after its end: State and what follows are
	// those of the workflow that does it.
	UndoneLater bool   `json:"undone_later,omitempty"`
	Parent      string `json:"parent,omitempty"`
	// UnknownOutside are the steps of which nobody knows what they did outside their
	// database.
	UnknownOutside []string `json:"unknown_outside,omitempty"`
	WorkflowID     string   `json:"workflow_id"`
	RunID          string   `json:"run_id"`
	// Cohort is the workflow that it shares with others, where it has none of its own; WorkflowID
	// is the same then.
	Cohort string `json:"cohort,omitempty"`

	taskQueue string
	status    enumspb.WorkflowExecutionStatus
	last      json.RawMessage // of one that has completed in its cohort, as far as that tells
	// OwnRun is the run of the saga's own workflow.
	OwnRun string `json:"-"`
}

// describeLimit is how many workflows are described at the same time.
const describeLimit = 32

// Each calls visit for each saga that f means, the open ones first and then the
// latest, until it returns false. Where the filter bounds how many are looked at, and there
// are more, or ctx's time is over before, the error is a *server.ScannedError.
func Each(ctx context.Context, t *server.Temporal, f Filter, size int, visit func(Row) bool) error {
	if f.Key != "" && !server.Askable(f.Key) || f.Name != "" && !server.Askable(f.Name) {
		size = server.PageLimit // only Matches can tell
	}
	seen, scanned := map[string]bool{}, &server.ScannedError{}
	err := t.EachPage(ctx, "sagas", f.Query(), size, func(infos []*workflowpb.WorkflowExecutionInfo,
		last bool) (bool, error) {
		rows, err := rowsOf(ctx, t, f.worthLooking(infos), seen, f.named)
		for _, r := range rows {
			if err != nil || f.Matches(r) && !visit(r) {
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

// worthLooking leaves out the workflows whose ID says that they are of another saga than
// is meant: where the visibility store could not be asked for its key, these are many.
func (f Filter) worthLooking(infos []*workflowpb.WorkflowExecutionInfo) (of []*workflowpb.WorkflowExecutionInfo) {
	for _, info := range infos {
		known, _ := workflows.ParseID(info.GetExecution().GetWorkflowId())
		if isCohort(info) || (f.Key == "" || f.Key == known.Key) && (f.Name == "" || f.Name == known.Name) {
			of = append(of, info)
		}
	}
	return of
}

// RowsOf turns workflows into the sagas that they are of, in their order, each
// once.
func RowsOf(ctx context.Context, t *server.Temporal, infos []*workflowpb.WorkflowExecutionInfo,
	seen map[string]bool) ([]Row, error) {
	return rowsOf(ctx, t, infos, seen, func(Row) bool { return true })
}

// rowsOf is RowsOf for those that are meant, as far as the ID says.
func rowsOf(ctx context.Context, t *server.Temporal, infos []*workflowpb.WorkflowExecutionInfo,
	seen map[string]bool, meant func(Row) bool) ([]Row, error) {
	var finds []func(ctx context.Context) (Row, error)
	for _, info := range infos {
		id, _ := sagaOf(info.GetExecution().GetWorkflowId())
		if _, _, _, ok := SplitID(id); ok && !seen[id] {
			seen[id] = true
			finds = append(finds, func(ctx context.Context) (Row, error) { return sagaRowOf(ctx, t, info) })
		}
		if !isCohort(info) {
			continue
		}
		shared, err := cohortRows(ctx, t, info)
		if err != nil {
			return nil, err
		}
		for _, r := range shared {
			if !seen[r.ID] && meant(r) {
				seen[r.ID] = true
				finds = append(finds, func(ctx context.Context) (Row, error) { return ownOr(ctx, t, r) })
			}
		}
	}
	rows := make([]Row, len(finds))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(describeLimit)
	for i, find := range finds {
		all.Go(func() (err error) {
			rows[i], err = find(ctx)
			return err
		})
	}
	return rows, all.Wait()
}

// sagaRowOf looks for the other workflow of a saga, and for the last run of what
// was ended from outside: the visibility store does not tell whether it was
// started again.
func sagaRowOf(ctx context.Context, t *server.Temporal, found *workflowpb.WorkflowExecutionInfo) (Row, error) {
	id, isUndo := sagaOf(found.GetExecution().GetWorkflowId())
	own, undo := found, (*workflowpb.WorkflowExecutionInfo)(nil)
	if isUndo {
		own, undo = nil, found
	}
	var err error
	if own == nil || server.IsLost(own.GetStatus()) {
		if own, err = t.Latest(ctx, id); err != nil {
			return Row{}, err
		}
		if own == nil && !isUndo { // the namespace has just forgotten it
			own = found
		}
	}
	if own.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && (undo == nil || server.IsLost(undo.GetStatus())) {
		if undo, err = t.Latest(ctx, workflows.SagaUndoID(id)); err != nil {
			return Row{}, err
		}
	}
	return joinRow(t, id, own, undo), nil
}

// joinRow makes a row of a saga's own workflow and of the one that undoes it, of
// which one may be missing: it was never there, or is older than the namespace
// keeps.
func joinRow(t *server.Temporal, id string, own, undo *workflowpb.WorkflowExecutionInfo) Row {
	if own != nil && undo != nil && (own.GetCloseTime() == nil ||
		undo.GetStartTime().AsTime().Before(own.GetCloseTime().AsTime())) {
		undo = nil // of a run before
	}
	last := own
	if undo != nil {
		last = undo
	}
	r := Row{ID: id, UndoneLater: undo != nil, Parent: own.GetParentExecution().GetWorkflowId(),
		WorkflowID: last.GetExecution().GetWorkflowId(), RunID: last.GetExecution().GetRunId(),
		Started:   last.GetStartTime().AsTime(),
		taskQueue: last.GetTaskQueue(), status: last.GetStatus(), OwnRun: own.GetExecution().GetRunId()}
	r.Group, r.Name, r.Key, _ = SplitID(id)
	if own != nil {
		r.Started = own.GetStartTime().AsTime()
	}
	if last.GetCloseTime() != nil {
		closed := last.GetCloseTime().AsTime()
		r.Closed = &closed
	}
	var state string
	t.Attribute(last, workflows.AttributeState, &state)
	r.State = sagaState(r.status, state, undo != nil)
	return r
}

// sagaState is a saga's state by its last workflow's status and search attribute.
func sagaState(status enumspb.WorkflowExecutionStatus, attribute string, undo bool) string {
	switch {
	case server.IsLost(status):
		return server.ExecutionState(status)
	case status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED && (undo || attribute == core.StateCompensated):
		return core.StateCompensated
	case status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return core.StateCompleted
	case attribute != "":
		return attribute
	case undo:
		return core.StateCompensating
	}
	return core.StateRunning
}
