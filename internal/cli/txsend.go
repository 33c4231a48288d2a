package cli

import (
	"context"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// target is the transaction of a row.
func (r row) target() target { return target{workflowID: r.WorkflowID, runID: r.RunID, tx: r.Tx} }

// targetRow is a transaction that was found, as a list has it; the reason takes an
// answer of its workflow. Where the ID of a workflow was given that several share, it
// is the workflow.
func targetRow(ctx context.Context, t *temporalServer, of target, reason bool) (row, error) {
	d, err := t.DescribeWorkflowExecution(ctx, of.workflowID, of.runID)
	if err != nil {
		return row{}, fmt.Errorf("workflow %s: %w", of.workflowID, err)
	}
	info := d.GetWorkflowExecutionInfo()
	known := infoRow(t, info)
	if of.tx == "" {
		return known, nil
	}
	rows := workflowRows(ctx, t, known, info.GetStatus())
	if reason {
		explainRows(ctx, t, rows)
	}
	for _, r := range rows {
		if r.Tx == of.tx {
			return r, nil
		}
	}
	known.Tx = of.tx
	return known, nil
}

// withoutEarlierRuns leaves out what was lost, and goes on in a newer run: the
// visibility store lists each run.
func withoutEarlierRuns(ctx context.Context, t *temporalServer, rows []row) ([]row, error) {
	again := make([]bool, len(rows))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(resultsAtOnce)
	for i, r := range rows {
		if closedStates[r.State] == 0 || shared(r.WorkflowID) {
			continue
		}
		all.Go(func() error {
			d, err := t.DescribeWorkflowExecution(ctx, r.WorkflowID, "")
			if err != nil {
				return fmt.Errorf("look for workflow %s: %w", r.WorkflowID, err)
			}
			again[i] = d.GetWorkflowExecutionInfo().GetExecution().GetRunId() != r.RunID
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

// txBatch is one action on any number of transactions.
type txBatch struct {
	crew
	t      *temporalServer
	prefix string
	act    txAct
	req    workflows.Request

	nobody map[string]bool // task queues that no process polls
}

// run does it, and says what became of each of rows.
func (b *txBatch) run(ctx context.Context, rows []row) ([]outcome, error) {
	var queues []string
	for _, r := range rows {
		queues = append(queues, workflows.TaskQueue(b.prefix, r.Group))
	}
	var err error
	if b.nobody, err = b.t.deserted(ctx, queues); err != nil {
		return nil, err
	}
	all := b.send(ctx, len(rows), func(ctx context.Context, i int) outcome { return b.one(ctx, rows[i]) })
	for i, r := range rows {
		all[i].ID, all[i].WorkflowID, all[i].group = r.Tx, r.target().name(), r.Group
	}
	return all, nil
}

// one does it to one transaction.
func (b *txBatch) one(ctx context.Context, r row) outcome {
	switch {
	case b.nobody[workflows.TaskQueue(b.prefix, r.Group)]:
		return outcome{Outcome: isUnsent, State: r.State, Detail: "no worker of group " + r.Group + " runs",
			Remedy: "start a process of the group, and repeat the command"}
	case workflows.State(r.State).Final() && r.State != string(workflows.Left):
		return outcome{Outcome: isSettled, State: r.State, Detail: r.State}
	case closedStates[r.State] != 0 && b.act.name != workflows.UpdateRecheck:
		return outcome{Outcome: isRefused, State: r.State, Detail: "its workflow was ended from outside: it is " + r.State,
			Remedy: b.t.code("tx recheck", r.target().name(), withReason()...) + " takes it up again; then decide it"}
	}
	ctx, cancel := context.WithTimeout(ctx, b.answer)
	defer cancel()
	req := b.req
	req.Tx = r.Tx
	of := r.target()
	of.runID = "" // the latest
	status, lost, err := b.do(ctx, of, req)
	var ended *serviceerror.NotFound
	switch {
	case errors.As(err, &ended):
		b.silent.Store(0)
		return b.ended(ctx, r)
	case err != nil:
		o := b.explain(outcome{}, err, r.State, b.t.code("tx show", of.name()))
		o.pending = false
		return o
	}
	b.silent.Store(0)
	return judgeTx(b.act.name, status, lost)
}

// do asks for it. What an Update cannot reach any more, because the workflow was closed
// undecided, a recheck takes up again; what left a shared workflow meanwhile is asked
// where it goes on.
func (b *txBatch) do(ctx context.Context, of target, req workflows.Request) (status workflows.MemberStatus, lost bool, err error) {
	if b.act.name == workflows.UpdateRecheck {
		if status, lost, err = takeUp(ctx, b.t, of, req); lost || err != nil {
			return status, lost, err
		}
	}
	status, err = b.ask(ctx, of, req)
	if err != nil && shared(of.workflowID) && of.tx != "" {
		if own, _ := oneTx(ctx, b.t, of.name(), []string{of.name()}); own.workflowID != "" { // it left meanwhile
			status, err = b.ask(ctx, own, req)
		}
	}
	return status, false, err
}

// ask sends the Update and waits for its answer.
func (b *txBatch) ask(ctx context.Context, of target, req workflows.Request) (status workflows.MemberStatus, err error) {
	handle, err := b.t.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: of.workflowID, RunID: of.runID,
		UpdateName: b.act.name, Args: []any{req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = handle.Get(ctx, &status)
	}
	return status, err
}

// ended says what became of a transaction whose workflow does not run.
func (b *txBatch) ended(ctx context.Context, r row) outcome {
	of := r.target()
	of.runID = ""
	now, err := targetRow(ctx, b.t, of, false)
	if err != nil {
		return outcome{Outcome: isUnknown, Detail: text(err)}
	}
	return outcome{Outcome: isSettled, State: now.State, Detail: now.State}
}

// judgeTx says what a transaction's status means for an action that it accepted; lost
// says that its workflow was started again.
func judgeTx(act string, m workflows.MemberStatus, lost bool) outcome {
	o := outcome{State: string(m.State), Detail: m.Reason}
	if !m.State.Final() {
		o.Detail = "it is " + string(m.State) + ": " + m.Reason
	}
	switch {
	case m.State == workflows.Committed, act == workflows.UpdateCommit && m.Resolution == holdfast.Commit:
		o.Outcome = isCommitted
	case m.State == workflows.RolledBack, act == workflows.UpdateRollback && m.Resolution == holdfast.Rollback:
		o.Outcome = isRolledBack
	case lost:
		o.Outcome = isRestarted
	case act == workflows.UpdateRecheck:
		o.Outcome = isRechecked
	default:
		o.Outcome = isRefused
	}
	return o
}

// noEndYet is the error of a transaction that was started and has not ended in time.
type noEndYet struct{ error }

func (e noEndYet) Unwrap() error { return e.error }

// explainSilence says why a transaction that was started has not ended in time.
func explainSilence(ctx context.Context, t *temporalServer, of target, prefix string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	group, _ := splitWorkflowID(of.workflowID)
	pollers, err := t.pollers(ctx, workflows.TaskQueue(prefix, group), enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err == nil && pollers == 0 {
		return withRemedy(noEndYet{fmt.Errorf("start %s: no worker of group %s answers", of.workflowID, group)},
			"it runs as soon as a process of the group is started; %s says how it ended", t.code("tx show", of.name()))
	}
	return withRemedy(noEndYet{fmt.Errorf("start %s: no answer in time", of.workflowID)},
		"it may still take effect: %s says whether it did; raise --timeout to wait longer", t.code("tx show", of.name()))
}
