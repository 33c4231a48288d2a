package worker

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
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
		return holdfast.Receipt{}, fmt.Errorf("%w: Send needs Options.DB; without a gorm database use Begin and a Checker",
			holdfast.ErrInvalid)
	}
	lane := w.lanes.Choose(ms)
	ctx, ms, sending := w.trace.Send(ctx, "send", w.o.Group, lane, ms, w.fits)
	receipt, err := w.observer.Counted(lane)(w.lanes.Send(ctx, lane, ms, w.traced(local)))
	sending.End(receipt, err)
	return receipt, err
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
	ms, local := []holdfast.Message{m}, w.handlers[name]
	lane := holdfast.Traced
	if local != nil {
		lane = w.lanes.Choose(ms)
	}
	ctx, ms, sending := w.trace.Send(ctx, "start", w.o.Group, lane, ms, w.fits)
	receipt, err := w.observer.Counted(lane)(w.lanes.Start(ctx, lane, name, ms, local))
	sending.End(receipt, err)
	return receipt, err
}
