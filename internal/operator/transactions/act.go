package transactions

import (
	"context"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// Target is the transaction of a row.
func (r Row) Target() target { return target{WorkflowID: r.WorkflowID, RunID: r.RunID, Tx: r.Tx} }

// TargetRow is a transaction that was found, as a list has it; the reason takes an
// answer of its workflow. Where the ID of a workflow was given that several share, it
// is the workflow.
func TargetRow(ctx context.Context, t *server.Temporal, of target, reason bool) (Row, error) {
	d, err := t.DescribeWorkflowExecution(ctx, of.WorkflowID, of.RunID)
	if err != nil {
		return Row{}, fmt.Errorf("workflow %s: %w", of.WorkflowID, err)
	}
	info := d.GetWorkflowExecutionInfo()
	known := InfoRow(t, info)
	if of.Tx == "" {
		return known, nil
	}
	rows := RowsOf(ctx, t, known, info.GetStatus())
	if reason {
		explainRows(ctx, t, rows)
	}
	for _, r := range rows {
		if r.Tx == of.Tx {
			return r, nil
		}
	}
	known.Tx = of.Tx
	return known, nil
}

// WithoutEarlierRuns leaves out what was lost, and goes on in a newer run.
func WithoutEarlierRuns(ctx context.Context, t *server.Temporal, rows []Row) ([]Row, error) {
	return server.WithoutEarlierRuns(ctx, t, rows, func(r Row) (id, run string, ended bool) {
		return r.WorkflowID, r.RunID, server.ClosedStates[r.State] != 0 && !server.IsShared(r.WorkflowID)
	})
}

// Batch is one action on any number of transactions.
type Batch struct {
	actions.Crew
	T      *server.Temporal
	Prefix string
	Act    Act
	Req    txflow.Request

	nobody map[string]bool // task queues that no process polls
}

// Run does it, and says what became of each of rows.
func (b *Batch) Run(ctx context.Context, rows []Row) ([]actions.Outcome, error) {
	var queues []string
	for _, r := range rows {
		queues = append(queues, workflows.TaskQueue(b.Prefix, r.Group))
	}
	var err error
	if b.nobody, err = b.T.Deserted(ctx, queues); err != nil {
		return nil, err
	}
	all := b.Send(ctx, len(rows), func(ctx context.Context, i int) actions.Outcome { return b.one(ctx, rows[i]) })
	for i, r := range rows {
		all[i].ID, all[i].WorkflowID, all[i].Group = r.Tx, r.Target().Name(), r.Group
	}
	return all, nil
}

// one does it to one transaction.
func (b *Batch) one(ctx context.Context, r Row) actions.Outcome {
	switch {
	case b.nobody[workflows.TaskQueue(b.Prefix, r.Group)]:
		return actions.Outcome{Outcome: actions.Unsent, State: r.State, Detail: "no worker of group " + r.Group + " runs",
			Remedy: "start a process of the group, and repeat the command"}
	case workflows.State(r.State).Final() && r.State != string(workflows.Left):
		return actions.Outcome{Outcome: actions.Settled, State: r.State, Detail: r.State}
	case server.ClosedStates[r.State] != 0 && b.Act.Name != txflow.UpdateRecheck:
		return actions.Outcome{Outcome: actions.Refused, State: r.State,
			Detail: "its workflow was ended from outside: it is " + r.State,
			Remedy: b.T.Code("tx recheck", r.Target().Name(), text.WithReason()...) + " takes it up again; then decide it"}
	}
	ctx, cancel := context.WithTimeout(ctx, b.Answer)
	defer cancel()
	req := b.Req
	req.Tx = r.Tx
	of := r.Target()
	of.RunID = "" // the latest
	status, lost, err := b.do(ctx, of, req)
	var ended *serviceerror.NotFound
	switch {
	case errors.As(err, &ended):
		b.Silent.Store(0)
		return b.ended(ctx, r)
	case err != nil:
		o := b.Explain(actions.Outcome{}, err, r.State, b.T.Code("tx show", of.Name()))
		o.Pending = false
		return o
	}
	b.Silent.Store(0)
	return judgeTx(b.Act.Name, status, lost)
}

// do asks for it. What an Update cannot reach any more, because the workflow was closed
// undecided, a recheck takes up again; what left a shared workflow meanwhile is asked
// where it goes on.
func (b *Batch) do(ctx context.Context, of target, req txflow.Request) (status txflow.MemberStatus,
	lost bool, err error) {
	if b.Act.Name == txflow.UpdateRecheck {
		if status, lost, err = takeUp(ctx, b.T, of, req); lost || err != nil {
			return status, lost, err
		}
	}
	status, err = b.ask(ctx, of, req)
	if err != nil && server.IsShared(of.WorkflowID) && of.Tx != "" {
		if own, _ := One(ctx, b.T, of.Name(), []string{of.Name()}); own.WorkflowID != "" { // it left meanwhile
			status, err = b.ask(ctx, own, req)
		}
	}
	return status, false, err
}

// ask sends the Update and waits for its answer.
func (b *Batch) ask(ctx context.Context, of target, req txflow.Request) (status txflow.MemberStatus, err error) {
	handle, err := b.T.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: of.WorkflowID, RunID: of.RunID,
		UpdateName: b.Act.Name, Args: []any{req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = handle.Get(ctx, &status)
	}
	return status, err
}

// ended says what became of a transaction whose workflow does not run.
func (b *Batch) ended(ctx context.Context, r Row) actions.Outcome {
	of := r.Target()
	of.RunID = ""
	now, err := TargetRow(ctx, b.T, of, false)
	if err != nil {
		return actions.Outcome{Outcome: actions.Unknown, Detail: text.Of(err)}
	}
	return actions.Outcome{Outcome: actions.Settled, State: now.State, Detail: now.State}
}

// judgeTx says what a transaction's status means for an action that it accepted; lost
// says that its workflow was started again.
func judgeTx(act string, m txflow.MemberStatus, lost bool) actions.Outcome {
	o := actions.Outcome{State: string(m.State), Detail: m.Reason}
	if !m.State.Final() {
		o.Detail = "it is " + string(m.State) + ": " + m.Reason
	}
	switch {
	case m.State == workflows.Committed, act == txflow.UpdateCommit && m.Resolution == holdfast.Commit:
		o.Outcome = actions.Committed
	case m.State == workflows.RolledBack, act == txflow.UpdateRollback && m.Resolution == holdfast.Rollback:
		o.Outcome = actions.RolledBack
	case lost:
		o.Outcome = actions.Restarted
	case act == txflow.UpdateRecheck:
		o.Outcome = actions.Rechecked
	default:
		o.Outcome = actions.Refused
	}
	return o
}

// noEndYet is the error of a transaction that was started and has not ended in time.
type noEndYet struct{ error }

func (e noEndYet) Unwrap() error { return e.error }

// explainSilence says why a transaction that was started has not ended in time.
func explainSilence(ctx context.Context, t *server.Temporal, of target, prefix string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.QueryTimeout)
	defer cancel()
	group, _ := server.SplitWorkflowID(of.WorkflowID)
	pollers, err := t.Pollers(ctx, workflows.TaskQueue(prefix, group), enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err == nil && pollers == 0 {
		return text.WithRemedy(noEndYet{fmt.Errorf("start %s: no worker of group %s answers", of.WorkflowID, group)},
			"it runs as soon as a process of the group is started; %s says how it ended", t.Code("tx show", of.Name()))
	}
	return text.WithRemedy(noEndYet{fmt.Errorf("start %s: no answer in time", of.WorkflowID)},
		"it may still take effect: %s says whether it did; raise --timeout to wait longer", t.Code("tx show", of.Name()))
}
