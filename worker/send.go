package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// Local is a local transaction with one message. It writes with tx, which is
// committed when it returns nil and rolled back when it returns an error or
// panics. It may change the body, headers, key and content type of m: what they
// are at the end is what is delivered.
//
// It runs once; where a crash leaves it open whether it did, the outcome row
// decides. It must not commit or roll back tx itself. It may send: such a
// transaction is one of its own, needs a further connection of the database's pool,
// and stands, however this one ends.
type Local func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error

// LocalAll is a local transaction with several messages.
type LocalAll func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error

// watchAfter is when a caller that has heard nothing from this process's own
// steps begins to watch the workflow.
const watchAfter = time.Second

// Send runs local and delivers m if and only if it commits. It returns when m is
// confirmed by the broker, without waiting for consumers.
//
// The errors tell what is known; ask in this order. ErrUndecided: it ends as the
// database says; do not repeat the work. ErrDeliveryPending: committed, and
// delivered once that is possible. ErrRolledBack, which wraps the error of local:
// nothing is delivered. ErrDuplicate: an earlier call with this ID decides.
// ErrInvalid, ErrTooLarge, ErrNotRunning, ErrNotStored, an UnavailableError:
// nothing was run.
//
// Send blocks until the worker is ready. It may be called from many goroutines.
//
// In the Express lane (see Options.Lane) Send does not return before local, and with a
// ctx that is done it is rolled back.
// Receipt.WorkflowID is where a history would begin if the transaction had to be
// handed over.
func (w *Worker) Send(ctx context.Context, m holdfast.Message, local Local) (holdfast.Receipt, error) {
	if local == nil {
		return holdfast.Receipt{}, fmt.Errorf("%w: Send needs a local transaction", holdfast.ErrInvalid)
	}
	return w.SendAll(ctx, []holdfast.Message{m}, func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		return local(ctx, tx, ms[0])
	})
}

// SendAll is [Worker.Send] for several messages of one local transaction: all of
// them are delivered, or none. The transaction's ID is the first message's, if
// that is set.
func (w *Worker) SendAll(ctx context.Context, ms []holdfast.Message, local LocalAll) (holdfast.Receipt, error) {
	if local == nil {
		return holdfast.Receipt{}, fmt.Errorf("%w: SendAll needs a local transaction", holdfast.ErrInvalid)
	}
	if w.o.DB == nil {
		return holdfast.Receipt{}, fmt.Errorf("%w: Send needs Options.DB; without a gorm database use Begin and a Checker", holdfast.ErrInvalid)
	}
	if w.lane(ms) == holdfast.Express {
		return w.observer.Counted(holdfast.Express)(w.express(ctx, activities.Tx{Form: activities.Inline, Instance: w.o.process}, ms, local))
	}
	return w.observer.Counted(holdfast.Traced)(w.transact(ctx, activities.Tx{Form: activities.Inline, Instance: w.o.process}, ms, local))
}

// Start runs the handler that is registered under name on any worker of the
// group, and delivers m if and only if its transaction commits. Errors are as
// with [Worker.Send]. It takes the Express lane only where the handler is
// registered in this process, which then runs it; if the process dies in it, it is
// rolled back, not run again by another one.
func (w *Worker) Start(ctx context.Context, name string, m holdfast.Message) (holdfast.Receipt, error) {
	if name == "" {
		return holdfast.Receipt{}, fmt.Errorf("%w: Start needs the name of a handler", holdfast.ErrInvalid)
	}
	ms, tx := []holdfast.Message{m}, activities.Tx{Form: activities.Registered, Handler: name}
	if local := w.handlers[name]; local != nil && w.lane(ms) == holdfast.Express {
		return w.observer.Counted(holdfast.Express)(w.express(ctx, tx, ms, local))
	}
	return w.observer.Counted(holdfast.Traced)(w.transact(ctx, tx, ms, nil))
}

// transact starts the workflow of tx and waits for its answer.
func (w *Worker) transact(ctx context.Context, tx activities.Tx, ms []holdfast.Message, local LocalAll) (holdfast.Receipt, error) {
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	p, receipt, err := w.admit(ctx, &tx, ms, local)
	if err != nil {
		return receipt, err
	}
	defer w.sending.Done()
	if w.gathers(p) {
		return w.gather(ctx, p, tx, receipt)
	}
	run, err := w.startTransaction(ctx, tx, 0, p.fresh)
	switch {
	case err == nil:
	case tx.Form == activities.Registered && !errors.Is(err, holdfast.ErrDuplicate):
		w.pendings.forget(p) // so that it can be sent again
		return receipt, undecided(tx.ID, fmt.Errorf("it may have been started; Start again with this ID is safe: %w", err))
	case p.giveUp():
		w.pendings.forget(p) // likewise: if it was started all the same, a check-back ends it
		return receipt, err
	default:
		run = w.o.Temporal.GetWorkflow(ctx, receipt.WorkflowID, "") // its answer was lost, but it was started
	}
	defer func() { w.pendings.end(p, time.Now()) }()
	receipt.RunID = run.GetRunID()
	return w.await(ctx, p, run, receipt)
}

// admit checks the transaction and gives it its ID, waits until sending can
// begin, and enters it. The caller is counted in w.sending where err is nil.
func (w *Worker) admit(ctx context.Context, tx *activities.Tx, ms []holdfast.Message, local LocalAll) (*pending, holdfast.Receipt, error) {
	receipt, err := w.identify(tx, ms)
	if err != nil {
		return nil, receipt, err
	}
	if err := w.enterTemporal(ctx, tracedNeeds(*tx)); err != nil {
		return nil, receipt, err
	}
	tx.Database = w.databaseOf(ms)
	p := newPending(ctx, tx.ID, ms[0].ID == "", local)
	if err := w.pendings.add(p); err != nil {
		w.sending.Done()
		return nil, receipt, err
	}
	return p, receipt, nil
}

// identify checks the messages, and gives them and tx their IDs.
func (w *Worker) identify(tx *activities.Tx, ms []holdfast.Message) (holdfast.Receipt, error) {
	receipt := holdfast.Receipt{Group: w.o.Group}
	if err := holdfast.ValidateMessages(ms, w.o.MaxBody); err != nil {
		return receipt, err
	}
	if err := holdfast.ValidateTxID(ms[0].ID); err != nil {
		return receipt, err
	}
	tx.Messages = holdfast.CloneMessages(ms)
	if tx.ID = ms[0].ID; tx.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return receipt, fmt.Errorf("holdfast: make a transaction ID: %w", err)
		}
		tx.ID = id.String()
	}
	holdfast.NumberMessages(tx.ID, tx.Messages)
	for i := range tx.Messages {
		tx.Messages[i].Lane = "" // it is chosen, and no part of what is delivered
	}
	receipt.TxID, receipt.WorkflowID = tx.ID, w.workflowID(tx.ID)
	return receipt, nil
}

func (w *Worker) input(txs ...activities.Tx) transactions.Input {
	return transactions.Input{Group: w.o.Group, Prefix: w.o.Prefix, Transactions: txs, Schedule: w.o.CheckBack,
		LocalTimeout: w.o.LocalTimeout, ReachTimeout: w.o.ReachTimeout, ConfirmAsks: !w.o.RollingUpgrade}
}

// startTransaction starts the workflow of tx. firstCheck, if not 0, replaces the
// wait before the first check-back; fresh says that nobody can have used its ID before.
func (w *Worker) startTransaction(ctx context.Context, tx activities.Tx, firstCheck time.Duration, fresh bool) (client.WorkflowRun, error) {
	if !fresh {
		if err := w.startedBefore(ctx, w.workflowID(tx.ID)); err != nil {
			return nil, err
		}
	}
	in := w.input(tx)
	if firstCheck > 0 {
		in.Schedule = in.Schedule.StartingAfter(firstCheck)
	}
	options := transactions.StartOptions(w.o.Prefix, w.o.Group, tx)
	options.ID, options.WorkflowTaskTimeout = w.workflowID(tx.ID), w.o.TaskTimeout
	run, err := w.o.Temporal.ExecuteWorkflow(ctx, options, transactions.Name, in)
	if err == nil {
		return run, nil
	}
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		return nil, duplicate(options.ID)
	}
	return nil, w.temporalError("start transaction "+tx.ID, err)
}

// await waits for the end of p: this process's own steps tell it, or, where they
// ran in another process, the workflow's result.
func (w *Worker) await(ctx context.Context, p *pending, run client.WorkflowRun, receipt holdfast.Receipt) (holdfast.Receipt, error) {
	timer := time.NewTimer(watchAfter)
	defer timer.Stop()
	remote, late := p.remote, timer.C
	for {
		select {
		case <-p.done:
			return p.receive(receipt)
		case <-remote:
			remote, late = nil, nil
			w.sending.Go(func() { w.watch(ctx, p, run) })
		case <-late:
			remote, late = nil, nil
			w.sending.Go(func() { w.watch(ctx, p, run) })
		case <-ctx.Done():
			return p.leave(context.Cause(ctx), receipt)
		case <-w.over:
			return p.leave(w.ended(), receipt)
		}
	}
}

// watch answers p with the workflow's result, or with that of the workflow to
// which p left. It ends with ctx at the latest.
func (w *Worker) watch(ctx context.Context, p *pending, run client.WorkflowRun) {
	m, err := memberOf(ctx, run, p.id)
	if err == nil && m.State == workflows.Left {
		run = w.o.Temporal.GetWorkflow(ctx, ownID(run.GetID(), w.o.Group, p.id), "")
		m, err = memberOf(ctx, run, p.id)
	}
	switch {
	case err == nil:
		p.endsIn(run.GetID(), run.GetRunID())
		p.finish(memberAnswer(m))
	case ctx.Err() == nil:
		p.finish(answer{err: watchError(p.id, run.GetID(), err)})
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
	return transactions.MemberStatus{}, fmt.Errorf("%w: transaction %s in workflow %s", holdfast.ErrNotFound, txID, run.GetID())
}

// watchError is the answer to the caller of a transaction whose workflow failed.
func watchError(txID, workflowID string, err error) error {
	var failure *temporal.ApplicationError
	if errors.As(err, &failure) && failure.Type() == workflows.InvalidInput {
		return fmt.Errorf("%w: %s", holdfast.ErrInvalid, failure.Message())
	}
	return undecided(txID, fmt.Errorf("workflow %s: %w", workflowID, err))
}

// memberAnswer is the answer to the caller of a transaction whose workflow ended.
func memberAnswer(m transactions.MemberStatus) answer {
	switch m.State {
	case workflows.Committed:
		return answer{resolution: holdfast.Commit}
	case workflows.Refused:
		return answer{resolution: holdfast.Rollback, err: fmt.Errorf("%w: %s", holdfast.ErrNotStored, m.Reason)}
	case workflows.RolledBack:
		reason := m.Reason
		if reason == "" {
			reason = "a check-back found that the local transaction had not committed"
		}
		return answer{resolution: holdfast.Rollback, err: rolledBack(errors.New(reason))}
	default:
		return answer{err: undecided(m.ID, errors.New(m.Reason))}
	}
}

func (p *pending) receive(receipt holdfast.Receipt) (holdfast.Receipt, error) {
	a := p.known()
	receipt.Resolution, receipt.Messages = a.resolution, a.messages
	return p.place(receipt, a.err), a.err
}

// place names in receipt the workflow to which the transaction left, or is about
// to leave because it could not be delivered with its cohort. One that is undecided
// may still end there: if it does not, that history says where it went.
func (p *pending) place(receipt holdfast.Receipt, err error) holdfast.Receipt {
	own := ownID(receipt.WorkflowID, receipt.Group, p.id)
	id, run := p.endedIn()
	switch shared := receipt.WorkflowID != own; {
	case shared && id == own:
		receipt.WorkflowID, receipt.RunID = own, run
	case shared && errors.Is(err, holdfast.ErrDeliveryPending):
		receipt.WorkflowID, receipt.RunID = own, ""
	case id == receipt.WorkflowID: // its start may not have been answered yet
		receipt.RunID = cmp.Or(receipt.RunID, run)
	}
	return receipt
}

// leave answers a caller who cannot wait any longer.
func (p *pending) leave(why error, receipt holdfast.Receipt) (holdfast.Receipt, error) {
	select {
	case <-p.done:
		return p.receive(receipt)
	default:
	}
	if p.inline && p.giveUp() && p.fresh {
		receipt.Resolution = holdfast.Rollback
		return receipt, fmt.Errorf("%w: the local transaction was not begun in time: %w", holdfast.ErrRolledBack, why)
	}
	receipt = p.place(receipt, nil)
	a := p.known()
	receipt.Resolution, receipt.Messages = a.resolution, a.messages
	if a.resolution == holdfast.Commit {
		return receipt, fmt.Errorf("%w: transaction %s: %w", holdfast.ErrDeliveryPending, p.id, why)
	}
	return receipt, undecided(p.id, why)
}

// bounded gives ctx the SendTimeout where it has no deadline.
func (w *Worker) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, w.o.SendTimeout, fmt.Errorf("the send timeout of %v passed: %w", w.o.SendTimeout, context.DeadlineExceeded))
}
