package activities

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// Transactions are the steps of the workflow Transaction. All ports but Alerts
// are required; without that, nobody is told of what parks. The methods may be
// called from many goroutines.
type Transactions struct {
	Halves  HalfStore
	Publish Publisher
	Ops     OpLog
	Locals  Locals
	Truth   Truth
	Alerts  Alerter
	// Patience is how long a cohort waits for its local transactions, and, once half
	// of them are stored, for its half messages. 0 means: for the slower half of the
	// local transactions about as long again as the quicker took, and 1 s at most;
	// for half messages 5 s.
	Patience time.Duration
}

// HalfSend stores the half messages. A transaction whose half message was not
// confirmed must not go on. Of many, one that takes much longer than the others, in
// a half queue without a leader for example, is given up.
func (a *Transactions) HalfSend(ctx context.Context, in StepInput) ([]StepResult, error) {
	ctx, stored, cancel := a.stragglers(ctx, len(in.Transactions))
	defer cancel()
	return forEach(in, func(tx Tx) StepResult {
		half := holdfast.Half{TxID: tx.ID, Group: in.Group, Messages: tx.Messages, At: time.Now()}
		err := a.Halves.PublishHalf(ctx, half)
		if err == nil {
			fault.Point(fault.HalfAfterConfirm)
			stored()
		}
		return stepResult(tx, err)
	}), nil
}

// LocalTransaction runs the local transactions that this process can run and
// marks the others as Elsewhere. In a cohort, what takes much longer than the
// others is marked as Running, and goes on.
func (a *Transactions) LocalTransaction(ctx context.Context, in StepInput) ([]LocalResult, error) {
	if in.Cohort {
		return a.localCohort(ctx, in), nil
	}
	return forEach(in, func(tx Tx) LocalResult { return a.Locals.RunLocal(ctx, in.Group, tx) }), nil
}

// LocalTransactionInProcess runs one local transaction as a regular activity, and
// heartbeats while it runs, so that the death of its process is noticed. No
// such handler here is an error that is retried: another worker may have it.
func (a *Transactions) LocalTransactionInProcess(ctx context.Context, in LocalInput) (LocalResult, error) {
	stop := heartbeat(ctx)
	defer stop()
	res := a.Locals.RunLocal(ctx, in.Group, in.Transaction)
	if !res.Elsewhere {
		return res, nil
	}
	if in.Transaction.Form == Registered {
		return res, temporal.NewApplicationError(res.Error, "NotRegistered")
	}
	res.Elsewhere = false // this is the process, and it does not know the closure any more
	return res, nil
}

// LocalTransactionsInProcess is LocalTransaction for a cohort whose workflow is
// run by another process than the one that holds the closures.
func (a *Transactions) LocalTransactionsInProcess(ctx context.Context, in StepInput) ([]LocalResult, error) {
	stop := heartbeat(ctx)
	defer stop()
	out := a.localCohort(ctx, in)
	for i := range out {
		out[i].Elsewhere = false // this is the process, and it does not know that closure any more
	}
	return out, nil
}

// Commit delivers the messages of committed transactions, then writes their op
// records.
func (a *Transactions) Commit(ctx context.Context, in StepInput) ([]StepResult, error) {
	ctx, cancel := inTime(ctx, len(in.Transactions))
	defer cancel()
	return forEach(in, func(tx Tx) StepResult {
		fault.Point(fault.CommitBeforePublish)
		err := a.Publish.PublishMessages(ctx, in.Group, tx.ID, tx.Messages)
		if err == nil {
			fault.Point(fault.CommitAfterConfirm)
			a.Ops.Settle(in.Group, tx.ID, holdfast.Commit)
		}
		return stepResult(tx, err)
	}), nil
}

// Rollback writes the op records of transactions that rolled back, so that the
// half queue forgets them.
func (a *Transactions) Rollback(_ context.Context, in StepInput) ([]StepResult, error) {
	return forEach(in, func(tx Tx) StepResult {
		a.Ops.Settle(in.Group, tx.ID, holdfast.Rollback)
		return StepResult{ID: tx.ID}
	}), nil
}

// CheckBack asks what became of a local transaction. That nobody answered is an
// error.
func (a *Transactions) CheckBack(ctx context.Context, in LocalInput) (LocalResult, error) {
	res := a.Truth.CheckBack(ctx, in.Group, in.Transaction)
	if res.Unreached {
		return res, temporal.NewApplicationError(res.Error, "Unreached")
	}
	return res, nil
}

// CheckBackAll asks what became of many local transactions. What would be too large
// to answer is Unknown.
func (a *Transactions) CheckBackAll(ctx context.Context, in StepInput) ([]LocalResult, error) {
	return fitting(a.Truth.CheckBackAll(ctx, in.Group, in.Transactions)), nil
}

// Decide makes an operator's resolution the truth about a local transaction. A
// refusal is not retried.
func (a *Transactions) Decide(ctx context.Context, in LocalInput) (LocalResult, error) {
	res, err := a.Truth.Decide(ctx, in.Group, in.Transaction, in.Resolution, in.Force)
	switch {
	case errors.Is(err, holdfast.ErrAlreadyResolved):
		return res, temporal.NewNonRetryableApplicationError(err.Error(), "AlreadyResolved", nil)
	case err != nil:
		return res, temporal.NewApplicationError(err.Error(), "Undecided")
	}
	return res, nil
}

// CommitUntilConfirmed is Commit for one transaction as a regular activity: an
// error, which Temporal retries and shows, instead of a value.
func (a *Transactions) CommitUntilConfirmed(ctx context.Context, in LocalInput) error {
	res, err := a.Commit(ctx, StepInput{Group: in.Group, Transactions: []Tx{in.Transaction}})
	switch {
	case err != nil:
		return err
	case res[0].Hopeless:
		return temporal.NewNonRetryableApplicationError(res[0].Error, HopelessType, nil)
	case res[0].Error != "":
		return temporal.NewApplicationError(res[0].Error, "NotConfirmed")
	}
	return nil
}

// HopelessType is the type of the error of a CommitUntilConfirmed that an
// operator has to make possible; Temporal does not retry it.
const HopelessType = "Hopeless"

func stepResult(tx Tx, err error) StepResult {
	if err == nil {
		return StepResult{ID: tx.ID}
	}
	hopeless := errors.Is(err, holdfast.ErrUnroutable) || errors.Is(err, holdfast.ErrTooLarge) || errors.Is(err, holdfast.ErrInvalid)
	return StepResult{ID: tx.ID, Error: bounded(err.Error()), Hopeless: hopeless}
}

// forEach runs step for every transaction of in at once and returns the answers
// in their order.
func forEach[R any](in StepInput, step func(Tx) R) []R {
	out := make([]R, len(in.Transactions))
	if len(out) == 1 {
		out[0] = step(in.Transactions[0])
		return out
	}
	var wg sync.WaitGroup
	for i, tx := range in.Transactions {
		wg.Go(func() { out[i] = step(tx) })
	}
	wg.Wait()
	return out
}

// heartbeat reports to Temporal, every second until stop, that this activity
// is alive.
func heartbeat(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
