package sagas

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagacohort"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// isCohort reports whether a workflow is one that sagas share.
func isCohort(info *workflowpb.WorkflowExecutionInfo) bool {
	known, ok := workflows.ParseID(info.GetExecution().GetWorkflowId())
	return ok && known.Kind == workflows.KindSagaCohort
}

// cohortRows are the sagas that share a workflow and have none of their own: where it has ended
// by itself, those that have completed in it.
func cohortRows(ctx context.Context, t *server.Temporal, info *workflowpb.WorkflowExecutionInfo) ([]Row, error) {
	at := info.GetExecution()
	ends, err := cohortEnds(ctx, t, at.GetWorkflowId(), at.GetRunId(), info.GetStatus())
	if err != nil {
		return nil, gone(err)
	}
	state := core.StateRunning
	if server.IsLost(info.GetStatus()) {
		state = server.ExecutionState(info.GetStatus())
	}
	var rows []Row
	for _, m := range ends {
		r := Row{ID: m.ID, State: state, Cohort: at.GetWorkflowId(), WorkflowID: at.GetWorkflowId(), RunID: at.GetRunId(),
			Started: info.GetStartTime().AsTime(), taskQueue: info.GetTaskQueue(), status: info.GetStatus(), last: m.Last}
		switch {
		case m.State == activities.MemberCompleted:
			r.State = core.StateCompleted
		case m.Settled():
			continue
		}
		r.Group, r.Name, r.Key, _ = SplitID(m.ID)
		if info.GetCloseTime() != nil {
			closed := info.GetCloseTime().AsTime()
			r.Closed = &closed
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// cohortEnds are how the members of a cohort have ended in it, as far as is known: of one that has
// not ended by itself, as its history tells. Its slowest member keeps it open.
func cohortEnds(ctx context.Context, t *server.Temporal, id, run string, status enumspb.WorkflowExecutionStatus) (
	[]activities.SagaMemberEnd, error) {
	if status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
		var result sagacohort.Result
		err := t.ReadResult(ctx, id, run, &result)
		return result.Members, err
	}
	events, _, err := t.History(ctx, id, run)
	if err != nil {
		return nil, err
	}
	var in sagacohort.Input
	var all []activities.SagaMemberEnd
	known := map[string]activities.SagaMemberEnd{}
	for _, e := range events {
		result := e.GetMarkerRecordedEventAttributes().GetDetails()["result"]
		if result == nil {
			result = e.GetActivityTaskCompletedEventAttributes().GetResult()
		}
		var told activities.SagaMemberEnds
		if started := e.GetWorkflowExecutionStartedEventAttributes(); started != nil {
			if err := t.Data.FromPayloads(started.GetInput(), &in); err != nil {
				return nil, fmt.Errorf("read the input of workflow %s: %w", id, err)
			}
		} else if result != nil && t.Data.FromPayloads(result, &told) == nil {
			for _, m := range told.Members {
				known[m.ID] = m
			}
		}
	}
	for _, m := range in.Members {
		end := known[m.ID]
		end.ID = m.ID
		all = append(all, end)
	}
	return all, nil
}

// gone is err, unless the namespace has just forgotten the workflow.
func gone(err error) error {
	var none *serviceerror.NotFound
	if errors.As(err, &none) {
		return nil
	}
	return err
}

// ownOr is the saga by its own workflow, if it has one, or else shared, as its cohort has it.
func ownOr(ctx context.Context, t *server.Temporal, shared Row) (Row, error) {
	own, err := t.Latest(ctx, shared.ID)
	if err != nil || own == nil || !t.IsOurs(own) {
		return shared, err
	}
	return sagaRowOf(ctx, t, own)
}

// errElsewhere says that a cohort's history does not tell enough of a saga.
var errElsewhere = errors.New("its state was too large for the history of the workflow that it shared")

// giveFromCohort starts the workflow of a saga that shares one, and waits a moment for it. Of one
// that has completed it is told all, and ends at once. One that runs it takes over from whoever
// drives that, and begins with what is asked, if that is not nil, before any step.
func giveFromCohort(ctx context.Context, t *server.Temporal, r Row, prefix string, asked *sagaflow.Asked) (
	Row, error) {
	own, err := inputFromCohort(ctx, t, r, prefix)
	if err == nil && r.State == core.StateCompleted {
		own, err = completedIn(r, own)
	} else {
		own.Asked = asked
	}
	if err != nil {
		return r, err
	}
	_, run, err := sagaflow.Start(ctx, t, sagaflow.StartConfig{Prefix: prefix, Fresh: true}, own)
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	if err != nil && !errors.As(err, &there) {
		return r, fmt.Errorf("start the workflow of saga %s: %w", r.ID, err)
	}
	held := asked != nil && asked.Action == sagaflow.UpdatePause
	if err == nil && r.State != core.StateRunning && !held { // it may end at once
		wait, cancel := context.WithTimeout(ctx, goesThrough)
		defer cancel()
		_ = run.Get(wait, nil) // it says itself how it stands
	}
	found, err := describeSagas(ctx, t, []string{r.ID})
	return oneSaga(t, r.ID, found, err)
}

// lostFor is how long after a cohort was ended from outside its members can be given workflows. Later
// their rows may be deleted, without which each step would be done again.
const lostFor = 24 * time.Hour

// own gives a saga that shares a workflow its own, or says why that cannot be, or that nothing is
// to be done: the workflow was ended from outside, and it turns out that the saga has completed.
func (b *Batch) own(ctx context.Context, r Row) (Row, *actions.Outcome) {
	no := func(detail, remedy string) (Row, *actions.Outcome) {
		return r, &actions.Outcome{Outcome: actions.Refused, State: r.State, WorkflowID: r.WorkflowID, Detail: detail,
			Remedy: remedy}
	}
	lost, asked := server.IsLost(r.status) && r.State != core.StateCompleted, (*sagaflow.Asked)(nil)
	back := b.Act.Name == workflows.UpdateCompensate
	if back || b.Act.Name == sagaflow.UpdatePause && r.State != core.StateCompleted {
		asked = &sagaflow.Asked{Action: b.Act.Name, Request: b.Req}
	}
	switch {
	case lost && asked == nil: // it would go on
		return no("the workflow that it shared was ended from outside", b.T.Code("saga compensate", r.ID,
			text.WithReason()...)+" undoes what it did, and pause holds it, so that it can be steered; it goes on when it is "+
			"started again with its key and its first state")
	case lost && (r.Closed == nil || time.Since(*r.Closed) > lostFor):
		return no("the workflow that it shared was ended from outside more than "+lostFor.String()+" ago",
			"start it again with its key and its first state: its rows tell what was done")
	}
	own, err := giveFromCohort(ctx, b.T, r, b.Prefix, asked)
	switch {
	case err != nil:
		o := b.Explain(actions.Outcome{WorkflowID: r.WorkflowID}, err, r.State, b.T.Code("saga show", r.ID))
		return r, &o
	case back && own.State == core.StateCompensated:
		return own, &actions.Outcome{Outcome: actions.Compensated, State: own.State, WorkflowID: own.WorkflowID}
	case asked != nil && !back && b.began(ctx, own):
		return own, &actions.Outcome{Outcome: actions.Paused, State: core.StatePaused, WorkflowID: own.WorkflowID,
			Detail: "it is " + core.StatePaused}
	case lost && own.State == core.StateCompleted:
		r = own
		return no("it had completed before the workflow that it shared was ended from outside",
			"repeat the command to undo it nevertheless")
	case back && own.State == core.StateCompleted && r.State != core.StateCompleted:
		o := completed(own)
		return own, &o
	}
	return own, nil
}

// began reports whether a saga has begun paused, as it was asked to.
func (b *Batch) began(ctx context.Context, own Row) bool {
	ctx, cancel := context.WithTimeout(ctx, b.Answer)
	defer cancel()
	var status sagaflow.Status
	return b.T.Stands(ctx, own.WorkflowID, &status) == nil && status.State == core.StatePaused
}

// inputFromCohort is the input of the workflow of a saga of which only is known what it was
// started with.
func inputFromCohort(ctx context.Context, t *server.Temporal, r Row, prefix string) (own sagaflow.Input, err error) {
	var in sagacohort.Input
	if err := t.InputOf(ctx, r.Cohort, r.RunID, &in); err != nil {
		return own, err
	}
	for _, m := range in.Members {
		if m.ID == r.ID {
			return sagaflow.Input{ID: m.ID, Group: in.Group, Prefix: prefix, Name: m.Start.Name, Key: m.Start.Key,
				Version: m.Start.Version, Data: m.Start.State, Content: sagaflow.ContentOf(m.Start.State),
				Tokens: m.Start.Tokens, Database: in.Database, Began: m.Began, Again: true, Begun: true,
				Trace: m.Start.Trace.Bounded()}, nil
		}
	}
	return own, fmt.Errorf("%w: workflow %s has no saga %s", holdfast.ErrNotFound, r.Cohort, r.ID)
}

// completedIn is own for a saga that has completed in its cohort.
func completedIn(r Row, own sagaflow.Input) (sagaflow.Input, error) {
	if len(r.last) == 0 {
		return own, errElsewhere
	}
	return sagaflow.CompletedInput(own, r.last)
}

// runsShared says of a saga that shares a workflow which has not ended what is known.
func runsShared(t *server.Temporal, r Row) string {
	if server.IsLost(r.status) {
		return fmt.Sprintf("it shared workflow %s, which was ended from outside: %s undoes what it did", r.Cohort,
			t.Code("saga compensate", r.ID, text.WithReason()...))
	}
	return fmt.Sprintf("it runs in workflow %s, which it shares: ask again in a moment", r.Cohort)
}
