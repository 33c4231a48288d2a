package activities

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/brief"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/telemetry"
)

// Transactions are the steps of the workflow Transaction. All ports but Alerts and
// Databases are required; without the first, nobody is told of what parks, without
// the second a transaction belongs to no database in particular. The methods may be
// called from many goroutines.
type Transactions struct {
	Halves  HalfStore
	Publish Publisher
	Ops     OpLog
	Locals  Locals
	Truth   Truth
	Alerts  Alerter

	Databases Databases
	// Trace makes the spans; nil: none. CheckedBack, if not nil, is told of each check-back
	// and how long it took; of one of many, once for each answer that it found.
	Trace       *telemetry.Tracer
	CheckedBack func(r holdfast.Resolution, took time.Duration)
	// Patience is how long a cohort waits for its local transactions, and for its half
	// messages after half of them are stored. 0 means: 5 s for half messages; for local
	// transactions, once half of them have ended, after d, min(2d + 30 ms, 1 s) in all.
	Patience time.Duration
}

// HalfSend stores the half messages. A transaction whose half message was not
// confirmed must not go on. Of many, one that takes much longer than the others, in
// a half queue without a leader for example, is given up.
func (a *Transactions) HalfSend(ctx context.Context, in StepInput) ([]StepResult, error) {
	ctx, span := a.many(ctx, "half messages of a cohort", in)
	defer span.End(nil)
	ctx, stored, cancel := a.stragglers(ctx, len(in.Transactions))
	defer cancel()
	out := make([]StepResult, len(in.Transactions))
	ctxs, halves := make([]context.Context, len(out)), make([]holdfast.Half, len(out))
	for i, tx := range in.Transactions {
		half := holdfast.Half{TxID: tx.ID, Group: in.Group, Messages: tx.Messages, At: time.Now(), Database: tx.Database}
		if half.Database == "" && tx.Form == Registered && a.Databases != nil { // started by somebody without a database
			half.Database = a.Databases.Database(tx)
		}
		ctxs[i], halves[i] = ctx, half
	}
	a.Halves.PublishHalves(ctxs, halves, func(i int, err error) {
		if err == nil {
			fault.Point(fault.HalfAfterConfirm)
			stored()
		}
		tx := in.Transactions[i]
		out[i] = stepResult(tx, err)
		if tx.Database == "" {
			out[i].Database = halves[i].Database
		}
	})
	return out, nil
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
	ctx, span := a.many(ctx, "publish a cohort", in)
	defer span.End(nil)
	ctx, cancel := inTime(ctx, len(in.Transactions))
	defer cancel()
	return forEach(in, func(tx Tx) StepResult {
		fault.Point(fault.CommitBeforePublish)
		var err error
		if ms := tx.Undelivered(); len(ms) > 0 || len(tx.Delivered) == 0 {
			err = a.Publish.PublishMessages(ctx, in.Group, tx.ID, ms)
		}
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

// The types of the errors of a check-back that nobody answered. A process whose
// database is not the transaction's is one that Temporal asks another after.
const (
	UnreachedType     = "Unreached"
	OtherDatabaseType = "OtherDatabase"
)

// CheckBack asks what became of a local transaction. That nobody answered is an
// error.
func (a *Transactions) CheckBack(ctx context.Context, in LocalInput) (LocalResult, error) {
	ctx, span := a.Trace.CheckBack(ctx, in.Transaction.ID, in.Transaction.Messages)
	began := time.Now()
	res := a.Truth.CheckBack(ctx, in.Group, in.Transaction)
	span.Resolved(res.Resolution, res.Error)
	a.checkedBack(began, res)
	if res.Elsewhere {
		return res, temporal.NewApplicationError(res.Error, OtherDatabaseType)
	}
	if res.Unreached {
		return res, temporal.NewApplicationError(res.Error, UnreachedType)
	}
	return res, nil
}

// CheckBackAll asks what became of many local transactions. What would be too large
// to answer is Unknown. A regular activity that lands in a process with another
// database than all of them is an error: Temporal asks another.
func (a *Transactions) CheckBackAll(ctx context.Context, in StepInput) ([]LocalResult, error) {
	ctx, end := a.checksBack(ctx, in)
	began := time.Now()
	out := fitting(a.Truth.CheckBackAll(ctx, in.Group, in.Transactions))
	end(out)
	a.checkedBack(began, out...)
	if activity.IsActivity(ctx) && !activity.GetInfo(ctx).IsLocalActivity && len(out) > 0 &&
		!slices.ContainsFunc(out, func(r LocalResult) bool { return !r.Elsewhere }) {
		return nil, temporal.NewApplicationError(out[0].Error, OtherDatabaseType)
	}
	return out, nil
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
	if err != nil || res[0].Error == "" {
		return err
	}
	r, before := res[0], len(in.Transaction.Delivered)
	switch {
	case r.Full:
		return temporal.NewNonRetryableApplicationError(r.Error, FullType, nil, r.Delivered)
	case r.Hopeless:
		return temporal.NewNonRetryableApplicationError(r.Error, hopelessType, nil, r.Delivered)
	case len(r.Delivered) > before:
		return temporal.NewNonRetryableApplicationError(r.Error, PartlyType, nil, r.Delivered)
	}
	return temporal.NewApplicationError(r.Error, "NotConfirmed")
}

// The types of the errors of a CommitUntilConfirmed that Temporal does not retry. Their
// detail is the list of the IDs of the messages that were delivered.
const (
	// hopelessType: an operator has to make it possible.
	hopelessType = "Hopeless"
	// FullType: a queue refuses a message, since it is at its limit.
	FullType = "QueueFull"
	// PartlyType: some messages were delivered, which need not be published again.
	PartlyType = "PartlyDelivered"
)

func stepResult(tx Tx, err error) StepResult {
	if err == nil {
		return StepResult{ID: tx.ID}
	}
	hopeless := errors.Is(err, holdfast.ErrUnroutable) || errors.Is(err, holdfast.ErrTooLarge) ||
		errors.Is(err, holdfast.ErrInvalid)
	out := StepResult{ID: tx.ID, Error: brief.Text(err.Error(), maxError), Hopeless: hopeless,
		Full: errors.Is(err, holdfast.ErrQueueFull)}
	var undelivered *holdfast.DeliveryError
	if errors.As(err, &undelivered) {
		out.Delivered = append(slices.Clone(tx.Delivered), undelivered.Delivered...)
	}
	return out
}

// many begins the span of a step about many.
func (a *Transactions) many(ctx context.Context, name string, in StepInput) (context.Context, *telemetry.Span) {
	return a.Trace.Many(ctx, name, len(in.Transactions), func(i int) holdfast.Trace {
		if ms := in.Transactions[i].Messages; len(ms) > 0 {
			return holdfast.TraceOf(ms[0].Headers)
		}
		return holdfast.Trace{}
	})
}

// checkedBack tells of a check-back: one of many counts once for each answer that it found.
// A process that does not have the database has asked nobody.
func (a *Transactions) checkedBack(began time.Time, results ...LocalResult) {
	if a.CheckedBack == nil {
		return
	}
	took := time.Since(began)
	told := map[holdfast.Resolution]bool{}
	for _, r := range results {
		if !r.Elsewhere && !told[r.Resolution] {
			told[r.Resolution] = true
			a.CheckedBack(r.Resolution, took)
		}
	}
}

// checksBack begins the spans of the check-back of many, which end ends.
func (a *Transactions) checksBack(ctx context.Context, in StepInput) (_ context.Context, end func([]LocalResult)) {
	ctx, all := a.many(ctx, "check-back of many", in)
	spans := make([]*telemetry.Span, len(in.Transactions))
	for i, tx := range in.Transactions {
		_, spans[i] = a.Trace.CheckBack(ctx, tx.ID, tx.Messages)
	}
	return ctx, func(out []LocalResult) {
		for i, span := range spans {
			if i < len(out) {
				span.Resolved(out[i].Resolution, out[i].Error)
			}
		}
		all.End(nil)
	}
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
