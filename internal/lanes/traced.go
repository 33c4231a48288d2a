package lanes

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// watchAfter is when a caller that has heard nothing from this process's own
// steps begins to watch the workflow.
const watchAfter = time.Second

// watchAfter is the wait before the workflow is watched: none where it runs elsewhere.
func (l *Lanes) watchAfter() time.Duration {
	if l.SendOnly {
		return 0
	}
	return watchAfter
}

// transact starts the workflow of tx and waits for its answer.
func (l *Lanes) transact(ctx context.Context, tx activities.Tx, ms []holdfast.Message,
	local Local) (holdfast.Receipt, error) {
	ctx, cancel := l.Bounded(ctx)
	defer cancel()
	p, receipt, err := l.admit(ctx, &tx, ms, local)
	if err != nil {
		return receipt, err
	}
	defer l.gate.Leave()
	if l.gathers(p) {
		return l.gather(ctx, p, tx, receipt)
	}
	run, err := l.StartTransaction(ctx, tx, 0, p.Fresh())
	if err != nil {
		if told, over := p.notStarted(err); over {
			l.pendings.forget(p) // so that it can be sent again
			return receipt, told
		}
		run = l.temporal.GetWorkflow(ctx, receipt.WorkflowID, "") // its answer was lost, but it was started
	}
	defer func() { l.pendings.end(p, time.Now()) }()
	receipt.RunID = run.GetRunID()
	return l.await(ctx, p, run, receipt)
}

// admit checks the transaction and gives it its ID, waits until sending can
// begin, and enters it. The caller is counted in l.sending where err is nil.
func (l *Lanes) admit(ctx context.Context, tx *activities.Tx, ms []holdfast.Message,
	local Local) (*Pending, holdfast.Receipt, error) {
	receipt, err := l.identify(ctx, tx, ms)
	if err != nil {
		return nil, receipt, err
	}
	if err := l.gate.EnterTemporal(ctx, tracedNeeds(*tx)); err != nil {
		return nil, receipt, err
	}
	tx.Database = l.DatabaseOf(ms)
	p := newPending(ctx, tx.ID, tx.Form, ms[0].ID == "", local)
	if err := l.pendings.add(p); err != nil {
		l.gate.Leave()
		return nil, receipt, err
	}
	return p, receipt, nil
}

// StartTransaction starts the workflow of tx. firstCheck, if not 0, replaces the
// wait before the first check-back; fresh says that nobody can have used its ID before.
func (l *Lanes) StartTransaction(ctx context.Context, tx activities.Tx, firstCheck time.Duration,
	fresh bool) (client.WorkflowRun, error) {
	if !fresh {
		if err := l.startedBefore(ctx, l.workflowID(tx.ID)); err != nil {
			return nil, err
		}
	}
	in := l.Input(tx)
	if firstCheck > 0 {
		in.Schedule = transactions.StartingAfter(in.Schedule, firstCheck)
	}
	options := transactions.StartOptions(l.Prefix, l.Group, tx)
	options.ID, options.WorkflowTaskTimeout = l.workflowID(tx.ID), l.TaskTimeout
	run, err := l.temporal.ExecuteWorkflow(ctx, options, transactions.Name, in)
	if err == nil {
		return run, nil
	}
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		return nil, duplicate(options.ID)
	}
	return nil, temporalerr.Unavailable("start transaction "+tx.ID, err)
}

// await waits for the end of p: this process's own steps tell it, or, where they
// ran in another process, the workflow's result.
func (l *Lanes) await(ctx context.Context, p *Pending, run client.WorkflowRun,
	receipt holdfast.Receipt) (holdfast.Receipt, error) {
	timer := time.NewTimer(l.watchAfter())
	defer timer.Stop()
	remote, late := p.remote, timer.C
	for {
		select {
		case <-p.done:
			return p.told(receipt)
		case <-remote:
			remote, late = nil, nil
			l.gate.Go(func() { l.watch(ctx, p, run) })
		case <-late:
			remote, late = nil, nil
			l.gate.Go(func() { l.watch(ctx, p, run) })
		case <-ctx.Done():
			return p.leave(context.Cause(ctx), receipt)
		case <-l.gate.Over():
			return p.leave(l.gate.Ended(), receipt)
		}
	}
}

// watch answers p with the workflow's result, or with that of the workflow to
// which p left. It ends with ctx at the latest.
func (l *Lanes) watch(ctx context.Context, p *Pending, run client.WorkflowRun) {
	m, err := memberOf(ctx, run, p.id())
	if err == nil && m.State == workflows.Left {
		run = l.temporal.GetWorkflow(ctx, ownID(run.GetID(), l.Group, p.id()), "")
		m, err = memberOf(ctx, run, p.id())
	}
	switch {
	case err == nil:
		p.ended(run.GetID(), run.GetRunID(), m)
	case ctx.Err() == nil:
		p.endUnknown(run.GetID(), err)
	}
}

// memberOf waits for the end of run, and returns how txID ended there.
func memberOf(ctx context.Context, run client.WorkflowRun, txID string) (transactions.MemberStatus, error) {
	var status transactions.Status
	if err := run.Get(ctx, &status); err != nil {
		return transactions.MemberStatus{}, err
	}
	for _, m := range status.Transactions {
		if m.ID == txID {
			return m, nil
		}
	}
	return transactions.MemberStatus{}, fmt.Errorf("%w: transaction %s in workflow %s", holdfast.ErrNotFound, txID,
		run.GetID())
}

// startedBefore says that a transaction was started when its workflow's ID did not have
// the prefix yet, and that workflow has not ended without deciding.
func (l *Lanes) startedBefore(ctx context.Context, workflowID string) error {
	d, there, err := workflows.Before(ctx, l.temporal, l.Prefix, workflowID)
	switch {
	case err != nil:
		return temporalerr.Unavailable("look for an earlier workflow of "+workflowID, err)
	case there && (d.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING ||
		d.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED):
		return duplicate(d.WorkflowExecution.ID)
	}
	return nil
}

// tracedNeeds names what brought tx into the Traced lane.
func tracedNeeds(tx activities.Tx) string {
	switch tx.Form {
	case activities.Registered:
		return fmt.Sprintf("Start in the Traced lane, or of a handler (%s) that is not registered in this process,",
			tx.Handler)
	case activities.Split:
		return "Begin in the Traced lane, or with a first check-back of its own (checkAfter),"
	}
	return "a transaction in the Traced lane"
}
