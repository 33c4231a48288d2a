package worker

import (
	"context"
	"fmt"
	"slices"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/consuming"
	"github.com/holdfastmq/holdfast/internal/telemetry"
)

// Local is a local transaction with one message. It writes with tx, which is
// committed when it returns nil and rolled back when it returns an error or
// panics. It may change the body, headers, key, content type and properties (Type to
// TTL) of m: what they are at the end is what is delivered.
//
// It runs once; where a crash leaves it open whether it did, the outcome row
// decides. It must not commit or roll back tx itself. It may send: such a
// transaction is one of its own, needs a further connection of the database's pool,
// and stands, however this one ends.
type Local func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error

// LocalAll is a local transaction with several messages.
type LocalAll func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error

// Outgoing is a transaction that is about to be sent, as a [SendMiddleware] has it.
type Outgoing struct {
	// Messages are the transaction's: a copy of what the caller gave, before it is checked
	// and gets its IDs. They may be changed; their number may not.
	Messages []holdfast.Message
	// Call is the method that was called: "Send", "SendAll", "Start" or "Begin".
	Call string
	// Handler is the name that Start was given; empty for the others.
	Handler string
}

// Sending sends a transaction, and returns what its caller gets. After Begin the receipt
// says that the resolution is Unknown.
type Sending func(ctx context.Context, o *Outgoing) (holdfast.Receipt, error)

// SendMiddleware puts something around Send, SendAll, Start and Begin: it returns a
// function that does its part and calls next, or returns an error, and then nothing is
// sent. It is called for each transaction, in the caller's goroutine: what it panics
// with, the caller gets. It is not around the local transaction, nor around a Split's
// Commit and Rollback.
//
// To call next twice is to send twice: do so only after an error that says that nothing
// was run (see [Worker.Send]).
type SendMiddleware func(next Sending) Sending

// UseSend adds middleware around what this worker sends, inside Options.SendMiddleware;
// the first is the outermost. Call it before anything is sent.
func (w *Worker) UseSend(ms ...SendMiddleware) {
	if slices.ContainsFunc(ms, isNilSend) {
		w.problem(fmt.Errorf("%w: UseSend of a nil SendMiddleware", holdfast.ErrInvalid))
		return
	}
	w.o.SendMiddleware = slices.Concat(w.o.SendMiddleware, ms)
}

func isNilSend(m SendMiddleware) bool { return m == nil }

// send has ms sent by do, inside the middleware for senders, with their keys hashed where that is
// an option.
func (w *Worker) send(ctx context.Context, o Outgoing, ms []holdfast.Message,
	send func(ctx context.Context, ms []holdfast.Message) (holdfast.Receipt, error)) (holdfast.Receipt, error) {
	do := func(ctx context.Context, ms []holdfast.Message) (holdfast.Receipt, error) {
		ms, err := w.box.Keys(ctx, ms)
		if err != nil {
			return holdfast.Receipt{}, err
		}
		return send(ctx, ms)
	}
	if len(w.o.SendMiddleware) == 0 {
		return do(ctx, ms)
	}
	o.Messages = holdfast.CloneMessages(ms)
	return consuming.Send[Sending](ctx, w.o.SendMiddleware, &o,
		func(o *Outgoing) []holdfast.Message { return o.Messages }, do)
}

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
	return w.sendAll(ctx, "Send", []holdfast.Message{m},
		func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error { return local(ctx, tx, ms[0]) })
}

// SendAll is [Worker.Send] for several messages of one local transaction: all of
// them are delivered, or none. The transaction's ID is the first message's, if
// that is set.
func (w *Worker) SendAll(ctx context.Context, ms []holdfast.Message, local LocalAll) (holdfast.Receipt, error) {
	if local == nil {
		return holdfast.Receipt{}, fmt.Errorf("%w: SendAll needs a local transaction", holdfast.ErrInvalid)
	}
	return w.sendAll(ctx, "SendAll", ms, local)
}

func (w *Worker) sendAll(ctx context.Context, call string, ms []holdfast.Message,
	local LocalAll) (holdfast.Receipt, error) {
	if w.o.DB == nil {
		return holdfast.Receipt{}, fmt.Errorf("%w: Send needs Options.DB; without a gorm database use Begin and a Checker",
			holdfast.ErrInvalid)
	}
	return w.send(ctx, Outgoing{Call: call}, ms,
		func(ctx context.Context, ms []holdfast.Message) (holdfast.Receipt, error) {
			lane := w.lanes.Choose(ms)
			ctx, ms, sending := w.trace.Send(ctx, "send", w.o.Group, lane, ms, w.fits)
			receipt, err := w.observer.Counted(lane)(w.lanes.Send(ctx, lane, ms, w.traced(local)))
			sending.End(receipt, err)
			return receipt, err
		})
}

// traced is local inside a span, where this process traces.
func (w *Worker) traced(local LocalAll) LocalAll {
	if w.trace == nil {
		return local
	}
	return func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		return w.trace.Local(ctx, ms, w.fits, func(ctx context.Context) error { return local(ctx, tx, ms) })
	}
}

// fits says whether messages can be published with the headers of their trace.
func (w *Worker) fits(ms []holdfast.Message) error {
	return telemetry.Room{Connected: w.ready, Seals: w.box.Seals, Fits: func(txID string, ms []holdfast.Message) error {
		return w.broker.Fits(w.o.Group, txID, ms)
	}}.For(ms)
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
	return w.send(ctx, Outgoing{Call: "Start", Handler: name}, []holdfast.Message{m},
		func(ctx context.Context, ms []holdfast.Message) (holdfast.Receipt, error) {
			local, lane := w.handlers[name], holdfast.Traced
			if local != nil {
				lane = w.lanes.Choose(ms)
			}
			ctx, ms, sending := w.trace.Send(ctx, "start", w.o.Group, lane, ms, w.fits)
			receipt, err := w.observer.Counted(lane)(w.lanes.Start(ctx, lane, name, ms, local))
			sending.End(receipt, err)
			return receipt, err
		})
}
