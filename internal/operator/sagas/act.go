package sagas

import (
	"context"
	"errors"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// Batch is one action on any number of sagas.
type Batch struct {
	actions.Crew
	T      *server.Temporal
	Prefix string
	Act    Act
	Req    sagaflow.Request
	// States, unless empty, are those in which a saga is still meant: one that is in another by
	// now is refused.
	States []string

	nobody map[string]bool // task queues that no process polls
}

// Run does it, and says what became of each of rows.
func (b *Batch) Run(ctx context.Context, rows []Row) ([]actions.Outcome, error) {
	var queues []string
	for _, r := range rows {
		queues = append(queues, r.taskQueue)
	}
	var err error
	if b.nobody, err = b.T.Deserted(ctx, queues); err != nil {
		return nil, err
	}
	all := b.Send(ctx, len(rows), func(ctx context.Context, i int) actions.Outcome { return b.one(ctx, rows[i]) })
	for i, r := range rows {
		if all[i].ID = r.ID; all[i].WorkflowID == "" { // not sent
			all[i].WorkflowID = r.WorkflowID
		}
	}
	b.Verify(ctx, all, func(ctx context.Context, i int) { b.again(ctx, &all[i]) })
	return all, nil
}

// one does it to one saga, and says to which of its workflows.
func (b *Batch) one(ctx context.Context, r Row) actions.Outcome {
	if len(b.States) > 0 {
		now, err := current(ctx, b.T, r)
		switch {
		case err != nil:
			return actions.Outcome{Outcome: actions.Unsent, State: r.State, Detail: text.Of(err)}
		case !slices.Contains(b.States, now.State):
			return actions.Outcome{Outcome: actions.Refused, State: now.State, WorkflowID: now.WorkflowID,
				Detail: "it is " + now.State + " meanwhile: it was left as it is"}
		}
		r = now
	}
	if r.Cohort != "" && !b.nobody[r.taskQueue] {
		own, o := b.own(ctx, r)
		if o != nil {
			return *o
		}
		r = own
	}
	o := b.do(ctx, r)
	if o.WorkflowID == "" {
		o.WorkflowID = r.WorkflowID
	}
	return o
}

// current is how a saga stands that was found a while ago.
func current(ctx context.Context, t *server.Temporal, r Row) (Row, error) {
	if r.Cohort != "" {
		return ownOr(ctx, t, r)
	}
	found, err := describeSagas(ctx, t, []string{r.ID})
	if err != nil || len(found) == 0 {
		return r, err
	}
	return found[0], nil
}

// completed says of a saga that ran when it was found what is not done to it any more.
func completed(r Row) actions.Outcome {
	return actions.Outcome{Outcome: actions.Refused, State: core.StateCompleted, WorkflowID: r.WorkflowID,
		Detail: "it has completed meanwhile: repeat the command to undo it nevertheless"}
}

func (b *Batch) do(ctx context.Context, r Row) actions.Outcome {
	open := r.status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	switch {
	case r.State == core.StateCompensated && b.Act.Name == workflows.UpdateCompensate:
		return actions.Outcome{Outcome: actions.Compensated, State: r.State, Detail: "before: nothing to do"}
	case b.nobody[r.taskQueue]:
		return actions.Outcome{Outcome: actions.Unsent, State: r.State, Detail: "no worker of group " + r.Group + " runs",
			Remedy: "start a process of the group, and repeat the command"}
	case !open && DidNothing(ctx, b.T, r):
		return actions.Outcome{Outcome: actions.Refused, State: r.State, Detail: "it did nothing: its key is another saga's"}
	case !open && b.Act.Name == workflows.UpdateCompensate:
		return b.undo(ctx, r)
	case !open:
		return b.over(r)
	}
	o, err := b.ask(ctx, r)
	var ended *serviceerror.NotFound
	if errors.As(err, &ended) {
		return b.ended(ctx, r)
	}
	return b.Explain(o, err, r.State, b.T.Code("saga show", r.ID))
}

// over says what becomes of an action on a saga whose workflow does not run.
func (b *Batch) over(r Row) actions.Outcome {
	o := actions.Outcome{Outcome: actions.Refused, State: r.State, Detail: "it is " + r.State +
		": nothing is left to " + b.Act.Name}
	switch {
	case server.IsLost(r.status):
		o.Detail = "its workflow was ended from outside: it is " + r.State
		o.Remedy = b.T.Code("saga compensate", r.ID, text.WithReason()...) + " undoes what it did"
	case r.State == core.StateCompleted:
		o.Remedy = b.T.Code("saga compensate", r.ID, text.WithReason()...) + " undoes it"
	}
	return o
}

// ended goes on with a saga whose workflow has ended since it was found.
func (b *Batch) ended(ctx context.Context, r Row) actions.Outcome {
	b.Silent.Store(0)
	now, err := describeSagas(ctx, b.T, []string{r.ID})
	switch {
	case err != nil:
		return actions.Outcome{Outcome: actions.Unknown, Detail: text.Of(err)}
	case len(now) == 0:
		return actions.Outcome{Outcome: actions.Refused, Detail: "there is no such saga any more"}
	case now[0].RunID == r.RunID && now[0].status == r.status:
		return actions.Outcome{Outcome: actions.Unknown, State: r.State,
			Detail: "Temporal says that its workflow runs, and that it does not: do it again"}
	case now[0].State == core.StateCompleted && b.Act.Name == workflows.UpdateCompensate:
		return completed(now[0])
	}
	return b.one(ctx, now[0])
}

// ask sends the Update, and judges its answer.
func (b *Batch) ask(ctx context.Context, r Row) (actions.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, b.Answer)
	defer cancel()
	req := b.Req
	if len(req.Value) > 0 && !b.T.Box.Has() {
		var stands sagaflow.Status
		if err := b.T.Stands(ctx, r.WorkflowID, &stands); err != nil {
			return actions.Outcome{}, err
		}
		if o, no := wouldBeClear(stands); no {
			return o, nil
		}
	}
	var err error
	if req.Value, err = b.T.Box.Value(ctx, seal.Answer, r.ID, req.Step, req.Value); err != nil {
		return actions.Outcome{}, err
	}
	handle, err := b.T.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: r.WorkflowID, UpdateName: b.Act.Name,
		Args: []any{req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	var status sagaflow.Status
	if err == nil {
		err = handle.Get(ctx, &status)
	}
	var refused *temporal.ApplicationError
	if errors.As(err, &refused) && b.goesBack(ctx, r, &status) {
		err = nil
	}
	if err != nil {
		return actions.Outcome{}, err
	}
	b.Silent.Store(0)
	return judgeSaga(b.Act, status), nil
}

// wouldBeClear refuses a value in clear for a saga whose state is encrypted: it would stand in
// the history. With a keyring that only reads, that is what was asked for.
func wouldBeClear(s sagaflow.Status) (o actions.Outcome, no bool) {
	if _, no = core.SealedOf(s.Core.Data); !no {
		return o, false
	}
	return actions.Outcome{Outcome: actions.Refused, State: s.State,
		Detail: "its state is encrypted, and the value would be sent in clear",
		Remedy: "set HOLDFAST_KEYRING, and repeat the command"}, true
}

// goesBack reports whether a saga refuses to compensate because it does already, or
// has.
func (b *Batch) goesBack(ctx context.Context, r Row, status *sagaflow.Status) bool {
	return b.Act.Name == workflows.UpdateCompensate && b.T.Stands(ctx, r.WorkflowID, status) == nil &&
		(status.Core.Phase == core.Backwards || status.Core.Phase == core.Compensated)
}

// again looks once more at what is not over. What cannot be seen now stays as it
// was.
func (b *Batch) again(ctx context.Context, o *actions.Outcome) {
	var status sagaflow.Status
	if b.T.Stands(ctx, o.WorkflowID, &status) != nil {
		return
	}
	if status.Core.Phase == core.Forwards && o.Outcome == actions.Unknown { // whether it comes cannot be told
		o.State, o.Detail = status.State, actions.NoAnswer+"; it is "+status.State
		return
	}
	now := judgeSaga(b.Act, status)
	now.ID, now.WorkflowID = o.ID, o.WorkflowID
	if *o = now; !o.Pending {
		b.Tick()
	}
}

// judgeSaga says what a saga's status means for an action that it accepted.
func judgeSaga(act Act, s sagaflow.Status) actions.Outcome {
	o := actions.Outcome{Outcome: act.said, State: s.State}
	where := stepReason(s.Step, s.Reason)
	if act.Name != workflows.UpdateCompensate {
		o.Detail = "it is " + s.State
		if slices.Contains(stuckStates, s.State) {
			o.Detail += ": " + where
		}
		return o
	}
	switch s.State {
	case core.StateCompensated:
	case core.StateCompleted:
		return completed(Row{})
	case core.StateCompensationFailed:
		o.Outcome, o.Detail = actions.Stuck, where
	default:
		o.Outcome, o.Detail, o.Pending = actions.Undoing, where, true
	}
	return o
}
