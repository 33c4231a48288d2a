package holdfasttest

import (
	"context"
	"errors"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/consuming"
	"github.com/holdfastmq/holdfast/internal/lanes"
	"github.com/holdfastmq/holdfast/worker"
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
	return k.send(k.t.Context(), "Send", []holdfast.Message{m},
		func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error { return local(ctx, tx, ms[0]) })
}

// SendAll is [Kit.Send] for several messages.
func (k *Kit) SendAll(ms []holdfast.Message, local worker.LocalAll) Sent {
	k.t.Helper()
	return k.SendIn(k.t.Context(), ms, local)
}

// SendIn is [Kit.SendAll] with a context. In that of a handler, see
// [holdfast.WithDelivery], the messages get the correlation of the one that is handled.
// It is for the test's goroutine: a handler that the kit runs cannot send.
func (k *Kit) SendIn(ctx context.Context, ms []holdfast.Message, local worker.LocalAll) Sent {
	k.t.Helper()
	return k.send(ctx, "SendAll", ms, local)
}

// send is one transaction, inside the middleware for senders.
func (k *Kit) send(ctx context.Context, call string, ms []holdfast.Message, local worker.LocalAll) (sent Sent) {
	k.t.Helper()
	o := worker.Outgoing{Messages: holdfast.CloneMessages(ms), Call: call}
	sent.Receipt, sent.Err = consuming.Send[worker.Sending](ctx, k.o.SendMiddleware, &o,
		func(o *worker.Outgoing) []holdfast.Message { return o.Messages },
		func(ctx context.Context, ms []holdfast.Message) (holdfast.Receipt, error) {
			sent = k.transact(ctx, ms, local)
			return sent.Receipt, sent.Err
		})
	return sent
}

func (k *Kit) transact(ctx context.Context, ms []holdfast.Message, local worker.LocalAll) Sent {
	k.t.Helper()
	p := k.transaction()
	lane := p.lanes.Choose(ms)
	receipt, err := p.lanes.Send(ctx, lane, ms, p.breakable(local))
	if p.dead || errors.Is(err, holdfast.ErrUndecided) || errors.Is(err, holdfast.ErrDeliveryPending) {
		if lane == holdfast.Express {
			if err := p.handOver(ctx, receipt.TxID); err != nil {
				k.t.Fatalf("transaction %s: %v", receipt.TxID, err)
			}
		}
		receipt, err = lanes.Told(receipt, *p.ended) // the caller has not seen it
	}
	sent := Sent{Receipt: receipt, Err: err, CheckBacks: p.asked}
	if p.ended != nil {
		sent.Status = *p.ended
	}
	if receipt.Resolution == holdfast.Commit {
		sent.Receipt.Messages = p.published
	}
	k.bury()
	return sent
}
