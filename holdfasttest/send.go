package holdfasttest

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"go.temporal.io/sdk/workflow"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// Point is an instant of a transaction at which something breaks.
type Point string

// The points, in the order in which a transaction meets them.
const (
	// BeforeHalf: RabbitMQ does not take the half message.
	BeforeHalf Point = "before the half message is stored"
	// AfterHalf: the process dies before the local transaction begins.
	AfterHalf Point = "after the half message is stored"
	// BeforeCommit: the process dies when the local transaction has done its work,
	// before COMMIT.
	BeforeCommit Point = "before COMMIT"
	// AfterCommit: the process dies after COMMIT, before anybody knows.
	AfterCommit Point = "after COMMIT"
	// AfterPublish: the process dies when the messages are published, before their
	// confirm: they are published again.
	AfterPublish Point = "after the messages are published"
)

// errBroken is why things went wrong at a Point.
var errBroken = errors.New("broken by the test")

// BreakAt has something break in the next transaction, once. What a dead process
// would have done next, another one of its group takes over.
func (k *Kit) BreakAt(p Point) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.crash = p
}

// breaks reports whether something breaks at p, once.
func (k *Kit) breaks(p Point) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.crash != p {
		return false
	}
	k.crash = ""
	return true
}

// Sent is how a transaction ended.
type Sent struct {
	// Receipt and Err say how it ended, as worker.Worker.Send would to a caller who
	// had lived to see it: nil if it was committed and delivered. ErrRolledBack,
	// which wraps the error of the local transaction; ErrNotStored; ErrUndecided or
	// ErrDeliveryPending, if it can only wait for an operator.
	Receipt holdfast.Receipt
	Err     error
	// CheckBacks counts the check-backs.
	CheckBacks int
	// Status is what the transaction's workflow says about it; empty where it has
	// none, as in the Express lane when nothing breaks.
	Status transactions.MemberStatus
}

// Send runs local, and delivers m, to those who [Kit.Consume], if and only if it
// commits. In the Express lane there is a workflow only if something breaks: what a
// dead process leaves, the Keeper hands over.
func (k *Kit) Send(m holdfast.Message, local worker.Local) Sent {
	k.t.Helper()
	return k.SendAll([]holdfast.Message{m},
		func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error { return local(ctx, tx, ms[0]) })
}

// SendAll is [Kit.Send] for several messages.
func (k *Kit) SendAll(ms []holdfast.Message, local worker.LocalAll) Sent {
	k.t.Helper()
	sent := Sent{Receipt: holdfast.Receipt{Group: k.o.Group}}
	if sent.Err = holdfast.ValidateMessages(ms, holdfast.MaxBody); sent.Err != nil {
		return sent
	}
	if sent.Err = holdfast.ValidateTxID(ms[0].ID); sent.Err != nil {
		return sent
	}
	tx := activities.Tx{ID: ms[0].ID, Form: activities.Inline, Instance: "kit", Messages: holdfast.CloneMessages(ms)}
	fresh := tx.ID == ""
	if fresh {
		tx.ID = uuid.NewString()
	}
	holdfast.NumberMessages(tx.ID, tx.Messages)
	sent.Receipt.TxID, sent.Receipt.WorkflowID = tx.ID, workflows.WorkflowID("", k.o.Group, tx.ID)
	p := &transaction{k: k, local: local}
	if k.lane(ms) == holdfast.Express {
		p.express(tx, fresh, &sent)
	} else {
		p.workflow(tx, &sent)
	}
	if sent.CheckBacks = p.asked; sent.Receipt.Resolution == holdfast.Commit {
		sent.Receipt.Messages = p.published
	}
	k.bury()
	return sent
}

// workflow plays the workflow of tx.
func (p *transaction) workflow(tx activities.Tx, sent *Sent) {
	k := p.k
	k.t.Helper()
	r := k.begin(sent.Receipt.WorkflowID)
	(&activities.Transactions{Halves: p, Publish: p, Ops: k.broker, Locals: p, Truth: p}).Register(r.env)
	var status transactions.Status
	in := transactions.Input{Group: k.o.Group, Transactions: []activities.Tx{tx}}
	r.env.RegisterDelayedCallback(func() { r.leave("it would go on like this") }, day)
	r.play("Transaction", func(ctx workflow.Context) (any, error) { return transactions.Transaction(ctx, in) }, &status)
	sent.Status = status.Transactions[0]
	sent.Receipt.Resolution = sent.Status.Resolution
	sent.Err = p.ended(sent.Status)
}

// ended is what the end of a transaction means for its caller.
func (p *transaction) ended(s transactions.MemberStatus) error {
	switch {
	case s.State == workflows.Committed:
		return nil
	case s.State == workflows.Refused:
		return fmt.Errorf("%w: %s", holdfast.ErrNotStored, s.Reason)
	case s.State == workflows.RolledBack && p.err != nil:
		return fmt.Errorf("%w: %w", holdfast.ErrRolledBack, p.err)
	case s.State == workflows.RolledBack:
		return fmt.Errorf("%w: a check-back found that the local transaction had not committed: %s",
			holdfast.ErrRolledBack, s.Reason)
	case s.Resolution == holdfast.Commit:
		return fmt.Errorf("%w: %s", holdfast.ErrDeliveryPending, s.Reason)
	}
	return fmt.Errorf("%w: %s", holdfast.ErrUndecided, s.Reason)
}
