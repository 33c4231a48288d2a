package cli

import (
	"context"
	"errors"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaBatch is one action on any number of sagas.
type sagaBatch struct {
	crew
	t      *temporalServer
	prefix string
	act    sagaAct
	req    workflows.SagaRequest

	nobody map[string]bool // task queues that no process polls
}

// run does it, and says what became of each of rows.
func (b *sagaBatch) run(ctx context.Context, rows []sagaRow) ([]outcome, error) {
	var queues []string
	for _, r := range rows {
		queues = append(queues, r.taskQueue)
	}
	var err error
	if b.nobody, err = b.t.deserted(ctx, queues); err != nil {
		return nil, err
	}
	all := b.send(ctx, len(rows), func(ctx context.Context, i int) outcome { return b.one(ctx, rows[i]) })
	for i, r := range rows {
		if all[i].ID = r.ID; all[i].WorkflowID == "" { // not sent
			all[i].WorkflowID = r.WorkflowID
		}
	}
	b.verify(ctx, all, func(ctx context.Context, i int) { b.again(ctx, &all[i]) })
	return all, nil
}

// one does it to one saga, and says to which of its workflows.
func (b *sagaBatch) one(ctx context.Context, r sagaRow) outcome {
	o := b.do(ctx, r)
	if o.WorkflowID == "" {
		o.WorkflowID = r.WorkflowID
	}
	return o
}

func (b *sagaBatch) do(ctx context.Context, r sagaRow) outcome {
	open := r.status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	switch {
	case r.State == core.StateCompensated && b.act.name == workflows.UpdateCompensate:
		return outcome{Outcome: isCompensated, State: r.State, Detail: "before: nothing to do"}
	case b.nobody[r.taskQueue]:
		return outcome{Outcome: isUnsent, State: r.State, Detail: "no worker of group " + r.Group + " runs",
			Remedy: "start a process of the group, and repeat the command"}
	case !open && b.act.name == workflows.UpdateCompensate:
		return b.undo(ctx, r)
	case !open:
		return b.over(r)
	}
	o, err := b.ask(ctx, r)
	var ended *serviceerror.NotFound
	if errors.As(err, &ended) {
		return b.ended(ctx, r)
	}
	return b.explain(o, err, r.State, b.t.code("saga show", r.ID))
}

// over says what becomes of an action on a saga whose workflow does not run.
func (b *sagaBatch) over(r sagaRow) outcome {
	o := outcome{Outcome: isRefused, State: r.State, Detail: "it is " + r.State + ": nothing is left to " + b.act.name}
	switch {
	case isLost(r.status):
		o.Detail = "its workflow was ended from outside: it is " + r.State
		o.Remedy = b.t.code("saga compensate", r.ID, withReason()...) + " undoes what it did"
	case r.State == core.StateCompleted:
		o.Remedy = b.t.code("saga compensate", r.ID, withReason()...) + " undoes it"
	}
	return o
}

// ended goes on with a saga whose workflow has ended since it was found.
func (b *sagaBatch) ended(ctx context.Context, r sagaRow) outcome {
	b.silent.Store(0)
	now, err := describeSagas(ctx, b.t, []string{r.ID})
	switch {
	case err != nil:
		return outcome{Outcome: isUnknown, Detail: text(err)}
	case len(now) == 0:
		return outcome{Outcome: isRefused, Detail: "there is no such saga any more"}
	case now[0].RunID == r.RunID && now[0].status == r.status:
		return outcome{Outcome: isUnknown, State: r.State, Detail: "Temporal says that its workflow runs, and that it does not: do it again"}
	}
	return b.one(ctx, now[0])
}

// ask sends the Update, and judges its answer.
func (b *sagaBatch) ask(ctx context.Context, r sagaRow) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, b.answer)
	defer cancel()
	handle, err := b.t.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: r.WorkflowID, UpdateName: b.act.name,
		Args: []any{b.req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	var status workflows.SagaStatus
	if err == nil {
		err = handle.Get(ctx, &status)
	}
	var refused *temporal.ApplicationError
	if errors.As(err, &refused) && b.goesBack(ctx, r, &status) {
		err = nil
	}
	if err != nil {
		return outcome{}, err
	}
	b.silent.Store(0)
	return judgeSaga(b.act, status), nil
}

// goesBack reports whether a saga refuses to compensate because it does already, or
// has.
func (b *sagaBatch) goesBack(ctx context.Context, r sagaRow, status *workflows.SagaStatus) bool {
	return b.act.name == workflows.UpdateCompensate && b.t.stands(ctx, r.WorkflowID, status) == nil &&
		(status.Core.Phase == core.Backwards || status.Core.Phase == core.Compensated)
}

// again looks once more at what is not over. What cannot be seen now stays as it
// was.
func (b *sagaBatch) again(ctx context.Context, o *outcome) {
	var status workflows.SagaStatus
	if b.t.stands(ctx, o.WorkflowID, &status) != nil {
		return
	}
	if status.Core.Phase == core.Forwards && o.Outcome == isUnknown { // whether it comes cannot be told
		o.State, o.Detail = status.State, noAnswer+"; it is "+status.State
		return
	}
	now := judgeSaga(b.act, status)
	now.ID, now.WorkflowID = o.ID, o.WorkflowID
	if *o = now; !o.pending {
		b.tick()
	}
}

// judgeSaga says what a saga's status means for an action that it accepted.
func judgeSaga(act sagaAct, s workflows.SagaStatus) outcome {
	o := outcome{Outcome: act.said, State: s.State}
	where := stepReason(s.Step, s.Reason)
	if act.name != workflows.UpdateCompensate {
		o.Detail = "it is " + s.State
		if slices.Contains(stuckStates, s.State) {
			o.Detail += ": " + where
		}
		return o
	}
	switch s.State {
	case core.StateCompensated:
	case core.StateCompleted:
		o.Outcome, o.Detail = isRefused, "it has completed meanwhile: repeat the command"
	case core.StateCompensationFailed:
		o.Outcome, o.Detail = isStuck, where
	default:
		o.Outcome, o.Detail, o.pending = isUndoing, where, true
	}
	return o
}
