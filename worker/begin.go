package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// Split is a transaction whose local transaction the application runs by
// itself: begun by [Worker.Begin], ended by Commit or Rollback, or, if neither
// comes, by a check-back. Its methods may be called from many goroutines.
type Split struct {
	w        *Worker
	messages []holdfast.Message
	chosen   bool // the ID, so that another call may use it, too
	receipt  holdfast.Receipt
	express  *expressSplit // nil in the Traced lane
}

// Begin stores ms as a half message and returns. The application then runs its
// own transaction, whose first statement is [Split.Barrier], commits it, and
// calls [Split.Commit]. The first check-back comes after checkAfter (0: as the
// schedule says): a local transaction that has not called Barrier by then is
// rolled back, and Barrier fails with ErrAlreadyResolved. In the Express lane,
// which it takes only with a checkAfter of 0, that is after Options.CheckAfter.
//
// ErrNotStored, an UnavailableError and the errors of bad input mean that there
// is nothing to commit.
func (w *Worker) Begin(ctx context.Context, checkAfter time.Duration, ms ...holdfast.Message) (*Split, error) {
	if checkAfter < 0 {
		return nil, fmt.Errorf("%w: the first check-back after %v: want 0 (as the schedule says) or more", holdfast.ErrInvalid, checkAfter)
	}
	if w.o.DB == nil && len(ms) > 0 && w.checker(ms) == nil {
		return nil, fmt.Errorf("%w: topic %s has no Checker, and Options.DB is not set: nobody could answer a check-back", holdfast.ErrInvalid, ms[0].Topic)
	}
	if checkAfter == 0 && w.lane(ms) == holdfast.Express {
		return w.beginExpress(ctx, ms)
	}
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	tx := activities.Tx{Form: activities.Split}
	p, receipt, err := w.admit(ctx, &tx, ms, nil)
	if err != nil {
		return nil, err
	}
	defer w.sending.Done()
	run, err := w.startTransaction(ctx, tx, checkAfter, p.fresh)
	if err != nil {
		w.pendings.forget(p) // so that it can be begun again
		return nil, err      // if it was started all the same, a check-back ends it
	}
	defer func() { w.pendings.end(p, time.Now()) }()
	receipt.RunID = run.GetRunID()
	s := &Split{w: w, messages: tx.Messages, chosen: ms[0].ID != "", receipt: receipt}
	if err := s.awaitStored(ctx, p); err != nil {
		return nil, err
	}
	return s, nil
}

// awaitStored waits until the half message is stored.
func (s *Split) awaitStored(ctx context.Context, p *pending) error {
	timer := time.NewTimer(watchAfter)
	defer timer.Stop()
	select {
	case <-p.stored:
		return nil
	case <-p.done: // refused
		return p.known().err
	case <-ctx.Done():
		return fmt.Errorf("%w: transaction %s: %w", holdfast.ErrNotStored, s.ID(), context.Cause(ctx))
	case <-timer.C:
	}
	var status transactions.MemberStatus
	if err := s.update(ctx, transactions.UpdateStored, s.ID(), &status); err != nil {
		return fmt.Errorf("%w: transaction %s: %w", holdfast.ErrNotStored, s.ID(), err)
	}
	if status.State == workflows.Refused {
		return memberAnswer(status).err
	}
	return nil
}

// ID returns the transaction's ID.
func (s *Split) ID() string { return s.receipt.TxID }

// Receipt says where the transaction is found in Temporal; its resolution is
// Unknown.
func (s *Split) Receipt() holdfast.Receipt { return s.receipt }

// Barrier inserts the outcome row into the application's own transaction tx,
// before its first write. If it fails, roll tx back. ErrAlreadyResolved means
// that a check-back was faster; repeated that an earlier run committed already.
func (s *Split) Barrier(ctx context.Context, tx *gorm.DB) (repeated bool, err error) {
	repeated, err = barrier.Insert(ctx, tx, s.ID(), s.w.o.Group, s.messages...)
	if err == nil && !repeated && s.chosen {
		// Nothing else tells this call from another with its ID: what is delivered is
		// what committed, whichever half message is checked back.
		err = barrier.StoreMessages(ctx, tx, s.ID(), s.messages)
	}
	return repeated, err
}

// Store changes what is delivered, in the application's own transaction tx:
// change returns the messages with their bodies, headers and keys completed.
func (s *Split) Store(ctx context.Context, tx *gorm.DB, change func(ms []holdfast.Message) error) error {
	ms := holdfast.CloneMessages(s.messages)
	if err := change(ms); err != nil {
		return err
	}
	for i, m := range ms {
		if m.Topic != s.messages[i].Topic || m.ID != s.messages[i].ID || m.AllowUnrouted != s.messages[i].AllowUnrouted {
			return fmt.Errorf("%w: topic, ID and AllowUnrouted of message %s may not change", holdfast.ErrInvalid, s.messages[i].ID)
		}
	}
	if err := holdfast.ValidateMessages(ms, s.w.o.MaxBody); err != nil {
		return err
	}
	if err := s.w.broker.Fits(s.w.o.Group, s.ID(), ms); err != nil {
		return err
	}
	return barrier.StoreMessages(ctx, tx, s.ID(), ms)
}

// Commit says that the application's transaction is committed, and returns when
// the messages are confirmed by the broker. It is refused with ErrNoOutcome
// where the database does not show it. The Checker of a topic is asked instead
// in the Traced lane; while it does not know, the error is ErrUndecided, and
// check-back goes on.
func (s *Split) Commit(ctx context.Context) (holdfast.Receipt, error) {
	ctx, cancel := s.w.bounded(ctx)
	defer cancel()
	c := transactions.Confirmation{Tx: s.ID(), Resolution: holdfast.Commit}
	proven := s.w.checker(s.messages) == nil // by the outcome row
	if proven {
		outcome, err := barrier.Read(ctx, s.w.o.DB, s.ID())
		switch {
		case errors.Is(err, holdfast.ErrNotFound):
			return s.receipt, fmt.Errorf("%w: transaction %s: commit it with Barrier as the first statement, then call Commit; or call Rollback", holdfast.ErrNoOutcome, s.ID())
		case err != nil:
			return s.receipt, undecided(s.ID(), err)
		case outcome.Resolution != holdfast.Commit:
			return s.rolledBack(fmt.Errorf("%w: a check-back had rolled transaction %s back", holdfast.ErrAlreadyResolved, s.ID()))
		}
		if !slices.EqualFunc(outcome.Messages, s.messages, holdfast.Message.Equal) {
			c.Messages = outcome.Messages
		}
	}
	return s.counted(s.confirm(ctx, c, proven))
}

// Rollback says that the application's transaction is not committed, and makes
// sure that it never will be. It is refused with ErrAlreadyResolved if it was.
func (s *Split) Rollback(ctx context.Context) (holdfast.Receipt, error) {
	ctx, cancel := s.w.bounded(ctx)
	defer cancel()
	proven := s.w.checker(s.messages) == nil
	if proven {
		_, err := barrier.Decide(ctx, s.w.o.DB, s.ID(), s.w.o.Group, holdfast.Rollback, s.w.o.LockTimeout)
		switch {
		case errors.Is(err, holdfast.ErrAlreadyResolved):
			return s.receipt, err
		case err != nil:
			return s.receipt, undecided(s.ID(), err)
		}
	}
	receipt, err := s.confirm(ctx, transactions.Confirmation{Tx: s.ID(), Resolution: holdfast.Rollback}, proven)
	if errors.Is(err, holdfast.ErrRolledBack) {
		err = nil // as asked
	}
	return s.counted(receipt, err)
}

func (s *Split) counted(receipt holdfast.Receipt, err error) (holdfast.Receipt, error) {
	lane := holdfast.Traced
	if s.express != nil {
		lane = holdfast.Express
	}
	return s.w.observer.Counted(lane)(receipt, err)
}

func (s *Split) rolledBack(err error) (holdfast.Receipt, error) {
	receipt := s.receipt
	receipt.Resolution = holdfast.Rollback
	return receipt, rolledBack(err)
}

// confirm sends the second confirmation, and waits for what comes of it. Where
// the outcome row has proven it, it holds even if Temporal cannot be told now: a
// check-back will find it.
func (s *Split) confirm(ctx context.Context, c transactions.Confirmation, proven bool) (holdfast.Receipt, error) {
	if s.express != nil {
		return s.confirmExpress(ctx, c, proven)
	}
	receipt := s.receipt
	var status transactions.MemberStatus
	err := s.update(ctx, transactions.UpdateConfirm, c, &status)
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) { // the workflow has ended: a check-back was faster
		status, err = s.result(ctx)
	}
	var failure *temporal.ApplicationError
	switch {
	case errors.As(err, &failure) && failure.Type() == "AlreadyResolved":
		return receipt, fmt.Errorf("%w: %s", holdfast.ErrAlreadyResolved, failure.Message())
	case err != nil && proven && c.Resolution == holdfast.Commit:
		receipt.Resolution = holdfast.Commit
		return receipt, fmt.Errorf("%w: transaction %s: %w", holdfast.ErrDeliveryPending, s.ID(), err)
	case err != nil && proven:
		receipt.Resolution = holdfast.Rollback
		return receipt, nil
	case err != nil:
		return receipt, undecided(s.ID(), err)
	case !status.State.Final():
		receipt.Resolution = status.Resolution
		return receipt, fmt.Errorf("%w: transaction %s: %s", holdfast.ErrDeliveryPending, s.ID(), status.Reason)
	}
	a := memberAnswer(status)
	receipt.Resolution = a.resolution
	if a.resolution == holdfast.Commit {
		receipt.Messages = s.messages
		if len(c.Messages) > 0 {
			receipt.Messages = c.Messages
		}
	}
	if a.resolution != c.Resolution {
		a.err = fmt.Errorf("%w: transaction %s: %s", holdfast.ErrAlreadyResolved, s.ID(), status.State)
	}
	return receipt, a.err
}

// result reads the end of a workflow that has ended.
func (s *Split) result(ctx context.Context) (transactions.MemberStatus, error) {
	var status transactions.Status
	err := s.w.o.Temporal.GetWorkflow(ctx, s.receipt.WorkflowID, s.receipt.RunID).Get(ctx, &status)
	for _, m := range status.Transactions {
		if m.ID == s.ID() {
			return m, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%w: transaction %s in workflow %s", holdfast.ErrNotFound, s.ID(), s.receipt.WorkflowID)
	}
	return transactions.MemberStatus{}, err
}

func (s *Split) update(ctx context.Context, name string, arg, result any) error {
	handle, err := s.w.o.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: s.receipt.WorkflowID,
		RunID: s.receipt.RunID, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return err
	}
	return handle.Get(ctx, result)
}
