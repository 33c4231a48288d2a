package worker

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/lanes"
)

// Split is a transaction whose local transaction the application runs by
// itself: begun by [Worker.Begin], ended by Commit or Rollback, or, if neither
// comes, by a check-back. Its methods may be called from many goroutines.
type Split struct {
	w     *Worker
	split *lanes.Split
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
	var s *lanes.Split
	_, err := w.send(ctx, Outgoing{Call: "Begin"}, ms,
		func(ctx context.Context, ms []holdfast.Message) (receipt holdfast.Receipt, err error) {
			ctx, ms, sending := w.trace.Send(ctx, "begin", w.o.Group, w.lanes.Choose(ms), ms, w.fits)
			if s, err = w.lanes.Begin(ctx, checkAfter, ms); err == nil {
				receipt = s.Receipt()
			}
			sending.End(receipt, err)
			return receipt, err
		})
	switch {
	case err != nil:
		return nil, err
	case s == nil: // a middleware has swallowed the error
		return nil, fmt.Errorf("%w: a SendMiddleware returned no error, though nothing was begun", holdfast.ErrInvalid)
	}
	return &Split{w: w, split: s}, nil
}

// ID returns the transaction's ID.
func (s *Split) ID() string { return s.split.ID() }

// Receipt says where the transaction is found in Temporal; its resolution is
// Unknown.
func (s *Split) Receipt() holdfast.Receipt { return s.split.Receipt() }

// Barrier inserts the outcome row into the application's own transaction tx,
// before its first write. If it fails, roll tx back. ErrAlreadyResolved means
// that a check-back was faster; repeated that an earlier run committed already.
func (s *Split) Barrier(ctx context.Context, tx *gorm.DB) (repeated bool, err error) {
	return s.split.Barrier(ctx, tx)
}

// Store changes what is delivered, in the application's own transaction tx:
// change returns the messages with their bodies, headers and keys completed.
func (s *Split) Store(ctx context.Context, tx *gorm.DB, change func(ms []holdfast.Message) error) error {
	return s.split.Store(ctx, tx, change)
}

// Commit says that the application's transaction is committed, and returns when
// the messages are confirmed by the broker. It is refused with ErrNoOutcome
// where the database does not show it. The Checker of a topic is asked instead
// in the Traced lane; while it does not know, the error is ErrUndecided, and
// check-back goes on.
func (s *Split) Commit(ctx context.Context) (holdfast.Receipt, error) {
	return s.w.observer.Counted(s.split.Lane())(s.split.Commit(ctx))
}

// Rollback says that the application's transaction is not committed, and makes
// sure that it never will be. It is refused with ErrAlreadyResolved if it was.
func (s *Split) Rollback(ctx context.Context) (holdfast.Receipt, error) {
	return s.w.observer.Counted(s.split.Lane())(s.split.Rollback(ctx))
}
