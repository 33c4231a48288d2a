package lanes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// Split is a transaction whose local transaction the application runs by itself: what
// package worker offers as Split.
type Split struct {
	l        *Lanes
	messages []holdfast.Message
	chosen   bool // the ID, so that another call may use it, too
	receipt  holdfast.Receipt
	express  *expressSplit // nil in the Traced lane
}

// Begin stores ms as a half message and returns. checkAfter is when the first check-back
// comes; 0: as the schedule says.
func (l *Lanes) Begin(ctx context.Context, checkAfter time.Duration, ms []holdfast.Message) (*Split, error) {
	if checkAfter < 0 {
		return nil, fmt.Errorf("%w: the first check-back after %v: want 0 (as the schedule says) or more",
			holdfast.ErrInvalid, checkAfter)
	}
	if l.barrier == nil && len(ms) > 0 && l.CheckerOf(ms) == nil {
		return nil, fmt.Errorf("%w: topic %s has no Checker, and Options.DB is not set: nobody could answer a check-back",
			holdfast.ErrInvalid, ms[0].Topic)
	}
	if checkAfter == 0 && l.Choose(ms) == holdfast.Express {
		return l.beginExpress(ctx, ms)
	}
	ctx, cancel := l.Bounded(ctx)
	defer cancel()
	tx := activities.Tx{Form: activities.Split}
	p, receipt, err := l.admit(ctx, &tx, ms, nil)
	if err != nil {
		return nil, err
	}
	defer l.gate.Leave()
	run, err := l.StartTransaction(ctx, tx, checkAfter, p.Fresh())
	if err != nil {
		l.pendings.forget(p) // so that it can be begun again
		return nil, err      // if it was started all the same, a check-back ends it
	}
	defer func() { l.pendings.end(p, time.Now()) }()
	receipt.RunID = run.GetRunID()
	s := &Split{l: l, messages: tx.Messages, chosen: ms[0].ID != "", receipt: receipt}
	if err := s.awaitStored(ctx, p); err != nil {
		return nil, err
	}
	return s, nil
}

// awaitStored waits until the half message is stored.
func (s *Split) awaitStored(ctx context.Context, p *Pending) error {
	timer := time.NewTimer(s.l.watchAfter())
	defer timer.Stop()
	select {
	case <-p.stored:
		return nil
	case <-p.done: // refused
		_, err := p.told(s.receipt)
		return err
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

// Barrier inserts the outcome row into the transaction tx.
func (s *Split) Barrier(ctx context.Context, tx *gorm.DB) (repeated bool, err error) {
	repeated, err = barrier.Insert(ctx, tx, s.ID(), s.l.Group, s.messages...)
	if err == nil && !repeated && s.chosen {
		// Nothing else tells this call from another with its ID: what is delivered is
		// what committed, whichever half message is checked back.
		err = barrier.StoreMessages(ctx, tx, s.ID(), s.messages)
	}
	return repeated, err
}

// Store changes what is delivered, in the transaction tx.
func (s *Split) Store(ctx context.Context, tx *gorm.DB, change func(ms []holdfast.Message) error) error {
	ms, err := s.changed(ctx, change)
	if err != nil {
		return err
	}
	for i, m := range ms {
		if m.Topic != s.messages[i].Topic || m.ID != s.messages[i].ID || m.AllowUnrouted != s.messages[i].AllowUnrouted {
			return fmt.Errorf("%w: topic, ID and AllowUnrouted of message %s may not change", holdfast.ErrInvalid,
				s.messages[i].ID)
		}
	}
	if err := holdfast.ValidateMessages(ms, s.l.MaxBody); err != nil {
		return err
	}
	if err := s.l.broker.Fits(s.l.Group, s.ID(), ms); err != nil {
		return err
	}
	return barrier.StoreMessages(ctx, tx, s.ID(), ms)
}

// changed is what change makes of the messages, sealed as they are.
func (s *Split) changed(ctx context.Context, change func(ms []holdfast.Message) error) ([]holdfast.Message, error) {
	ms := holdfast.CloneMessages(s.messages)
	refs := make([]*holdfast.Message, len(ms))
	for i := range ms {
		refs[i] = &ms[i]
	}
	err := s.l.Box.Change(ctx, refs, func(opened []*holdfast.Message) error {
		now := make([]holdfast.Message, len(opened))
		for i, m := range opened {
			now[i] = *m
		}
		if err := change(now); err != nil {
			return err
		}
		for i := range now {
			*opened[i] = now[i]
		}
		return nil
	})
	return ms, err
}

// Commit says that the transaction is committed, which the outcome row, or the Checker, has
// to confirm, and waits for the delivery.
func (s *Split) Commit(ctx context.Context) (holdfast.Receipt, error) {
	ctx, cancel := s.l.Bounded(ctx)
	defer cancel()
	c, ms := s.core(), s.messages
	proven := s.l.CheckerOf(ms) == nil // by the outcome row
	if proven {
		outcome, err := s.l.barrier.Read(ctx, s.ID())
		if c.onOutcome(outcome, err).answer {
			return c.told(s.receipt)
		}
		if len(outcome.Messages) > 0 {
			ms = outcome.Messages
		}
	}
	return s.l.opened(s.confirm(ctx, c, holdfast.Commit, ms, proven))
}

// Rollback says that the transaction is not committed, and makes sure that it never will be.
func (s *Split) Rollback(ctx context.Context) (holdfast.Receipt, error) {
	ctx, cancel := s.l.Bounded(ctx)
	defer cancel()
	c := s.core()
	proven := s.l.CheckerOf(s.messages) == nil
	if proven {
		_, err := s.l.barrier.Decide(ctx, s.ID(), s.l.Group, holdfast.Rollback)
		if c.onDecided(err).answer {
			return c.told(s.receipt)
		}
	}
	return s.confirm(ctx, c, holdfast.Rollback, s.messages, proven)
}

// core decides what the caller of a confirmation is told.
func (s *Split) core() *pendingCore {
	return &pendingCore{id: s.ID(), form: activities.Split, express: s.express != nil}
}

// Lane is how it is coordinated.
func (s *Split) Lane() holdfast.Lane {
	if s.express != nil {
		return holdfast.Express
	}
	return holdfast.Traced
}

// confirm sends the second confirmation, r with ms, and waits for what comes of it. Where
// the outcome row has proven it, it holds even if Temporal cannot be told now: a
// check-back will find it.
func (s *Split) confirm(ctx context.Context, c *pendingCore, r holdfast.Resolution, ms []holdfast.Message,
	proven bool) (holdfast.Receipt, error) {
	c.onConfirmed(r, ms, proven)
	if s.express != nil {
		return s.confirmExpress(ctx, c, r, ms, proven)
	}
	confirmation := transactions.Confirmation{Tx: s.ID(), Resolution: r}
	if !slices.EqualFunc(ms, s.messages, holdfast.Message.Equal) {
		confirmation.Messages = ms
	}
	var status transactions.MemberStatus
	err := s.update(ctx, transactions.UpdateConfirm, confirmation, &status)
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) { // the workflow has ended: a check-back was faster
		status, err = s.result(ctx)
	}
	if err != nil {
		return c.onNoAnswer(err, s.receipt)
	}
	c.onAnswer(status, r)
	return c.told(s.receipt)
}

// result reads the end of a workflow that has ended.
func (s *Split) result(ctx context.Context) (transactions.MemberStatus, error) {
	var status transactions.Status
	err := s.l.temporal.GetWorkflow(ctx, s.receipt.WorkflowID, s.receipt.RunID).Get(ctx, &status)
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
	handle, err := s.l.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: s.receipt.WorkflowID,
		RunID: s.receipt.RunID, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return err
	}
	return handle.Get(ctx, result)
}
