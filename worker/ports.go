package worker

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/activity"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/guard"
)

// steps are the steps' ports: the broker and the outcome rows, with an ear for
// the callers that wait in this process.
type steps struct{ w *Worker }

// PublishHalf stores h, within the deadline of its caller where that waits for
// it in this process. In a repetition of the step nobody does any more: then a
// failure says nothing to the caller.
func (s steps) PublishHalf(ctx context.Context, h holdfast.Half) error {
	p := s.w.pendings.get(h.TxID)
	if p == nil || !p.waitsForHalf() {
		return s.w.broker.PublishHalf(ctx, h)
	}
	ctx, cancel := context.WithDeadline(ctx, p.deadline)
	defer cancel()
	err := s.w.broker.PublishHalf(ctx, h)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if err == nil {
		p.setStored()
	} else if p.giveUp() {
		p.finish(answer{resolution: p.notRun(), err: fmt.Errorf("%w: %w", holdfast.ErrNotStored, err)})
	}
	return err
}

// pending returns the transaction that somebody waits for here, or nil. It notes
// which workflow is at it.
func (s steps) pending(ctx context.Context, txID string) *pending {
	p := s.w.pendings.get(txID)
	if p != nil && activity.IsActivity(ctx) {
		e := activity.GetInfo(ctx).WorkflowExecution
		p.endsIn(e.ID, e.RunID)
	}
	return p
}

// PublishMessages delivers ms and answers the caller.
func (s steps) PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error {
	err := s.w.broker.PublishMessages(ctx, group, txID, ms)
	p := s.pending(ctx, txID)
	if p != nil {
		if all := p.known().messages; len(all) > len(ms) {
			ms = all // the others were delivered before
		}
	}
	switch {
	case p == nil:
	case err == nil:
		p.finish(answer{resolution: holdfast.Commit, messages: ms})
	case errors.Is(err, holdfast.ErrUnroutable), errors.Is(err, holdfast.ErrQueueFull), errors.Is(err, holdfast.ErrTooLarge),
		errors.Is(err, holdfast.ErrInvalid): // waiting would not help
		p.finish(answer{resolution: holdfast.Commit, messages: ms, err: fmt.Errorf("%w: %w", holdfast.ErrDeliveryPending, err)})
	}
	return err
}

// Settle writes the op record.
func (s steps) Settle(group, txID string, r holdfast.Resolution) { s.w.broker.Settle(group, txID, r) }

// RunLocal runs a local transaction that is this process's to run.
func (s steps) RunLocal(ctx context.Context, group string, tx activities.Tx) activities.LocalResult {
	p := s.pending(ctx, tx.ID)
	if p != nil && activity.IsActivity(ctx) && !activity.GetInfo(ctx).IsLocalActivity {
		p.setRemote() // the workflow runs in another process
	}
	if tx.Form == activities.Registered {
		if err := s.w.otherDatabase(tx.Database); err != nil {
			return activities.LocalResult{ID: tx.ID, Elsewhere: true, Error: err.Error()}
		}
		return s.runHandler(ctx, group, tx, p)
	}
	if tx.Instance != s.w.o.process || p == nil || !p.inline {
		return activities.LocalResult{ID: tx.ID, Elsewhere: true, Error: "this process does not hold the closure of transaction " + tx.ID}
	}
	return p.run(ctx,
		func(ctx context.Context, local LocalAll) barrier.Result {
			return s.runBarrier(ctx, group, tx, p, local)
		},
		func() activities.LocalResult { return s.CheckBack(ctx, group, tx) },
		tx.Messages)
}

func (s steps) runHandler(ctx context.Context, group string, tx activities.Tx, p *pending) activities.LocalResult {
	handler, ok := s.w.handlers[tx.Handler]
	if !ok {
		return activities.LocalResult{ID: tx.ID, Elsewhere: true, Error: fmt.Sprintf("no handler %q is registered in this process", tx.Handler)}
	}
	res := s.runBarrier(ctx, group, tx, p, handler)
	if p != nil {
		p.localEnded(res, tx.Messages)
	}
	return localResult(tx.ID, res)
}

// runBarrier runs the local transaction of tx; p is nil where nobody waits for it
// here. A handler may be run again by another process, a closure may not. Where the
// ID may be a chosen one, another call with it may have stored another half message,
// in the Express lane: the outcome row keeps the messages of the one that commits.
func (s steps) runBarrier(ctx context.Context, group string, tx activities.Tx, p *pending, local LocalAll) barrier.Result {
	made := p != nil && p.fresh
	l := barrier.Local{TxID: tx.ID, Group: group, Messages: tx.Messages,
		Fresh: made && tx.Form == activities.Inline, Keep: !made, MaxBody: s.w.o.MaxBody, Fits: s.w.fits(tx.ID)}
	var res barrier.Result
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		returned := false
		defer func() {
			v := recover()
			switch {
			case returned:
			case v != nil: // not the closure's, which Run makes an error of: the database driver's
				res.Err = fmt.Errorf("%w: transaction %s: %w", holdfast.ErrUndecided, tx.ID, guard.Panicked(v))
			default:
				res.Err = fmt.Errorf("%w: the local transaction %s ended its goroutine (runtime.Goexit, which t.FailNow calls): return an error instead", holdfast.ErrUndecided, tx.ID)
			}
		}()
		res = barrier.Run(ctx, s.w.o.DB, l, local)
		returned = true
	}()
	<-ended
	return res
}

// CheckBack asks the group's processes in another language, the topic's Checker,
// or the outcome row.
func (s steps) CheckBack(ctx context.Context, group string, tx activities.Tx) activities.LocalResult {
	if s.w.o.RemoteCheck {
		return s.checkRemotely(ctx, group, []activities.Tx{tx})[0]
	}
	out := activities.LocalResult{ID: tx.ID}
	if err := s.w.otherDatabase(tx.Database); err != nil {
		return elsewhere(tx.ID, err)
	}
	if checker := s.w.checker(tx.Messages); checker != nil {
		r, err := ask(ctx, checker, tx.Messages[0])
		if err != nil {
			out.Error = fmt.Sprintf("the Checker of topic %s: %v", tx.Messages[0].Topic, err)
			return out
		}
		out.Resolution = r
		return out
	}
	if s.w.o.DB == nil {
		out.Error = fmt.Sprintf("nobody can answer: this process has neither a database nor a Checker for topic %s", tx.Messages[0].Topic)
		return out
	}
	outcome, err := barrier.CheckBack(ctx, barrier.Expect(s.w.o.DB, s.w.stores.own), tx.ID, group, s.w.o.LockTimeout)
	if other := (*barrier.OtherDatabaseError)(nil); errors.As(err, &other) {
		s.w.tellOther(other)
		return elsewhere(tx.ID, err)
	}
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Resolution, out.Messages = outcome.Resolution, outcome.Messages
	return out
}

// ask calls a Checker. Beside an error its answer is Unknown.
func ask(ctx context.Context, c holdfast.Checker, m holdfast.Message) (holdfast.Resolution, error) {
	return guard.Value(func() (holdfast.Resolution, error) { return c.Check(ctx, m) })
}

// Decide makes r the truth, unless whoever knows says otherwise.
func (s steps) Decide(ctx context.Context, group string, tx activities.Tx, r holdfast.Resolution, force bool) (activities.LocalResult, error) {
	if s.w.o.RemoteCheck {
		return s.decideRemotely(ctx, group, tx, r, force)
	}
	out := activities.LocalResult{ID: tx.ID, Resolution: r}
	if err := s.w.otherDatabase(tx.Database); err != nil && (!force || othersAsked(ctx)) {
		return out, err
	} else if err != nil {
		return out, nil // nobody else was found in time
	}
	if s.w.checker(tx.Messages) != nil {
		if known := s.CheckBack(ctx, group, tx); known.Resolution != holdfast.Unknown && known.Resolution != r {
			return out, fmt.Errorf("%w: the Checker of topic %s says %s", holdfast.ErrAlreadyResolved, tx.Messages[0].Topic, known.Resolution)
		}
		return out, nil
	}
	if s.w.o.DB == nil {
		if force {
			return out, nil
		}
		return out, errors.New("this process has neither a database nor a Checker: use force to decide without")
	}
	outcome, err := barrier.Decide(ctx, barrier.Expect(s.w.o.DB, s.w.stores.own), tx.ID, group, r, s.w.o.LockTimeout)
	switch {
	case errors.Is(err, holdfast.ErrAlreadyResolved):
		return out, err
	case err != nil && !force:
		return out, fmt.Errorf("the database cannot say: %w; mend it, or use force to decide without", err)
	case err != nil:
		return out, nil
	}
	out.Messages = outcome.Messages
	return out, nil
}

var _ interface {
	activities.HalfStore
	activities.Publisher
	activities.OpLog
	activities.Locals
	activities.Truth
	activities.Databases
} = steps{}
