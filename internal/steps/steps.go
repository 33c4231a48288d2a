// Package steps implements the ports of package activities with broker and barrier: half
// messages and messages are published, local transactions run, check-backs answered, dead
// letters redelivered and compensated. Where a result also answers a caller that is blocked
// in this process, it tells that one through Callers, which package worker joins to package
// lanes: neither imports the other.
package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/seal"
)

// Steps implements the ports of package activities with broker and barrier. When a result
// also answers a caller that is blocked in this process, it tells that one: see Callers.
type Steps struct {
	Group   string
	Process string // names the process that holds a closure
	Broker  stepBroker
	// Letters is the broker for the steps of dead letters, and Remote the one over which a
	// group is asked whose processes are in another language; nil: they are here.
	Letters letterBroker
	Remote  remoteBroker
	// DB is the database of the local transactions; nil: every topic has a Checker.
	DB        *gorm.DB
	Databases stepDatabases
	// Callers are those that are blocked in this process.
	Callers stepCallers
	Answers *Answers

	MaxBody     int
	LockTimeout time.Duration
	Box         *seal.Box // opens messages for the functions that are registered

	// What is registered: handlers by name, the others by topic.
	Handlers      map[string]Local
	Checkers      map[string]holdfast.Checker
	Compensations map[string]Compensation

	DeadLetterID func(holdfast.DeadLetter) string // of its workflow
	// Recovered hears of the answers to the check-back of many.
	Recovered func([]activities.LocalResult)
}

// Local is a local transaction.
type Local = func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error

// Compensation undoes what a message meant.
type Compensation = func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error

// stepBroker is what the steps of transactions need of a broker.
type stepBroker interface {
	PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error))
	PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error
	Settle(group, txID string, r holdfast.Resolution)
	Fits(group, txID string, ms []holdfast.Message) error
}

// letterBroker is what those of dead letters need.
type letterBroker interface {
	Redeliver(ctx context.Context, r broker.RedeliverRequest) error
	HalfOf(d holdfast.DeadLetter) (holdfast.Half, error)
	PublishCompensated(ctx context.Context, d holdfast.DeadLetter) error
}

// remoteBroker asks the processes of a group.
type remoteBroker interface {
	CheckRemotely(ctx context.Context, group string, txs []broker.CheckTx) []broker.CheckAnswer
}

// stepDatabases is what this process knows of its database, and of others.
type stepDatabases interface {
	// Own is the identity of its own.
	Own() string
	// Other returns an error if work that was begun in the database want is nothing that
	// this process can know of, and TellOther tells people of such work.
	Other(want string) error
	TellOther(err *barrier.OtherDatabaseError)
	// Differ reports whether another process of the group has another database.
	Differ() bool
}

// stepCallers finds the caller of a transaction that is blocked in this process.
type stepCallers interface {
	// Waiting returns nil where nobody waits here.
	Waiting(txID string) Caller
}

// Caller hears what becomes of its transaction, and holds its closure.
type Caller interface {
	// HalfDeadline returns until when the half message has to be stored; ok is false where
	// the caller waits for it no longer. HalfStored and HalfNotStored say what became of it.
	HalfDeadline() (until time.Time, ok bool)
	HalfStored()
	HalfNotStored(err error)
	// SeenIn notes the workflow, and its run, that does something about it; RunsElsewhere
	// that this is in another process.
	SeenIn(workflowID, runID string)
	RunsElsewhere()
	// Fresh reports whether its ID was made for it, Inline whether it holds a closure.
	Fresh() bool
	Inline() bool
	// Run has run run the closure, once; in a repetition it returns what the first run
	// brought, and asks where that is not known.
	Run(ctx context.Context, run func(context.Context, Local) (barrier.Result, activities.LocalResult),
		ask func() activities.LocalResult, messages []holdfast.Message) activities.LocalResult
	// LocalEnded notes how a local transaction ended that is no closure.
	LocalEnded(res barrier.Result, messages []holdfast.Message)
	// Published notes that ms were published, or not because of err.
	Published(ms []holdfast.Message, err error)
}

// checkerOf returns the Checker for the transaction of ms, or nil.
func (s *Steps) checkerOf(ms []holdfast.Message) holdfast.Checker { return s.Checkers[ms[0].Topic] }

// Database returns the identity of the database in which this process would run a
// local transaction; empty where a Checker answers.
func (s *Steps) Database(tx activities.Tx) string {
	if s.checkerOf(tx.Messages) != nil {
		return ""
	}
	return s.Databases.Own()
}

// fits says whether messages of transaction txID could be published.
func (s *Steps) fits(txID string) func([]holdfast.Message) error {
	return func(ms []holdfast.Message) error { return s.Broker.Fits(s.Group, txID, ms) }
}

// PublishHalves stores half messages, each within the deadline of its caller where that waits
// for it in this process. In a repetition of the step nobody does any more: then a failure says
// nothing to the caller.
func (s *Steps) PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error)) {
	in, callers := slices.Clone(ctxs), make([]Caller, len(hs))
	for i, h := range hs {
		p := s.Callers.Waiting(h.TxID)
		if p == nil {
			continue
		}
		if deadline, waits := p.HalfDeadline(); waits {
			ctx, cancel := context.WithDeadline(in[i], deadline)
			defer cancel()
			in[i], callers[i] = ctx, p
		}
	}
	s.Broker.PublishHalves(in, hs, func(i int, err error) {
		if p := callers[i]; p != nil {
			if cause := context.Cause(in[i]); err != nil && cause != nil && !errors.Is(err, cause) {
				err = fmt.Errorf("%w: %w", cause, err)
			}
			if err == nil {
				p.HalfStored()
			} else {
				p.HalfNotStored(err)
			}
		}
		done(i, err)
	})
}

// caller returns the transaction that somebody waits for here, or nil. It notes
// which workflow is at it.
func (s *Steps) caller(ctx context.Context, txID string) Caller {
	p := s.Callers.Waiting(txID)
	if p != nil && activity.IsActivity(ctx) {
		e := activity.GetInfo(ctx).WorkflowExecution
		p.SeenIn(e.ID, e.RunID)
	}
	return p
}

// PublishMessages delivers ms and answers the caller.
func (s *Steps) PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error {
	err := s.Broker.PublishMessages(ctx, group, txID, ms)
	if p := s.caller(ctx, txID); p != nil {
		p.Published(ms, err)
	}
	return err
}

// Settle writes the op record.
func (s *Steps) Settle(group, txID string, r holdfast.Resolution) { s.Broker.Settle(group, txID, r) }

// RunLocal runs a local transaction that is this process's to run.
func (s *Steps) RunLocal(ctx context.Context, group string, tx activities.Tx) activities.LocalResult {
	p := s.caller(ctx, tx.ID)
	if p != nil && activity.IsActivity(ctx) && !activity.GetInfo(ctx).IsLocalActivity {
		p.RunsElsewhere() // the workflow runs in another process
	}
	if tx.Form == activities.Registered {
		if err := s.Databases.Other(tx.Database); err != nil {
			return activities.LocalResult{ID: tx.ID, Elsewhere: true, Error: err.Error()}
		}
		return s.runHandler(ctx, group, tx, p)
	}
	if tx.Instance != s.Process || p == nil || !p.Inline() {
		return activities.LocalResult{ID: tx.ID, Elsewhere: true,
			Error: "this process does not hold the closure of transaction " + tx.ID}
	}
	return p.Run(ctx,
		func(ctx context.Context, local Local) (barrier.Result, activities.LocalResult) {
			res := s.runBarrier(ctx, group, tx, p, local)
			return res, localResult(tx.ID, res)
		},
		func() activities.LocalResult { return s.CheckBack(ctx, group, tx) },
		tx.Messages)
}

func (s *Steps) runHandler(ctx context.Context, group string, tx activities.Tx, p Caller) activities.LocalResult {
	handler, ok := s.Handlers[tx.Handler]
	if !ok {
		return activities.LocalResult{ID: tx.ID, Elsewhere: true,
			Error: fmt.Sprintf("no handler %q is registered in this process", tx.Handler)}
	}
	opening, err := s.opening(ctx, tx, handler)
	if err != nil {
		return activities.LocalResult{ID: tx.ID, Elsewhere: true, Error: err.Error()}
	}
	res := s.runBarrier(ctx, group, tx, p, opening)
	if p != nil {
		p.LocalEnded(res, tx.Messages)
	}
	return localResult(tx.ID, res)
}

// opening is handler for the messages of tx, which are opened before anything is begun. The
// error says that a key is missing, which another process may have. Any other one, of what is
// not genuine, or in clear where that is refused, rolls the transaction back.
func (s *Steps) opening(ctx context.Context, tx activities.Tx, handler Local) (Local, error) {
	opened, wrong := s.Box.OpenAll(ctx, tx.Messages)
	if seal.Missing(wrong) {
		return nil, wrong
	}
	return func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		if wrong != nil {
			return wrong
		}
		return s.Box.ChangeOpened(ctx, ms, opened, func(ms []*holdfast.Message) error { return handler(ctx, tx, ms) })
	}, nil
}

// runBarrier runs the local transaction of tx; p is nil where nobody waits for it
// here. A handler may be run again by another process, a closure may not. Where the
// ID may be a chosen one, another call with it may have stored another half message,
// in the Express lane: the outcome row keeps the messages of the one that commits.
func (s *Steps) runBarrier(ctx context.Context, group string, tx activities.Tx, p Caller, local Local) barrier.Result {
	made := p != nil && p.Fresh()
	l := barrier.Local{TxID: tx.ID, Group: group, Messages: tx.Messages,
		Fresh: made && tx.Form == activities.Inline, Keep: !made, MaxBody: s.MaxBody, Fits: s.fits(tx.ID)}
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
				res.Err = fmt.Errorf("%w: the local transaction %s ended its goroutine (runtime.Goexit, which t.FailNow calls): "+
					"return an error instead", holdfast.ErrUndecided, tx.ID)
			}
		}()
		res = barrier.Run(ctx, s.DB, l, local)
		returned = true
	}()
	<-ended
	return res
}

// CheckBack asks the group's processes in another language, the topic's Checker,
// or the outcome row.
func (s *Steps) CheckBack(ctx context.Context, group string, tx activities.Tx) activities.LocalResult {
	if s.Remote != nil {
		return s.checkRemotely(ctx, group, []activities.Tx{tx})[0]
	}
	out := activities.LocalResult{ID: tx.ID}
	if err := s.Databases.Other(tx.Database); err != nil {
		return elsewhere(tx.ID, err)
	}
	if checker := s.checkerOf(tx.Messages); checker != nil {
		r, err := s.ask(ctx, checker, tx.Messages[0])
		if seal.Missing(err) { // another process may have the key
			return elsewhere(tx.ID, err)
		}
		if err != nil {
			out.Error = fmt.Sprintf("the Checker of topic %s: %v", tx.Messages[0].Topic, err)
			return out
		}
		out.Resolution = r
		return out
	}
	if s.DB == nil {
		out.Error = fmt.Sprintf("nobody can answer: this process has neither a database nor a Checker for topic %s",
			tx.Messages[0].Topic)
		return out
	}
	outcome, err := barrier.CheckBack(ctx, barrier.Expect(s.DB, s.Databases.Own()), tx.ID, group, s.LockTimeout)
	if other := (*barrier.OtherDatabaseError)(nil); errors.As(err, &other) {
		s.Databases.TellOther(other)
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
func (s *Steps) ask(ctx context.Context, c holdfast.Checker, m holdfast.Message) (holdfast.Resolution, error) {
	m, err := s.Box.OpenOwn(ctx, m)
	if err != nil {
		return holdfast.Unknown, err
	}
	return guard.Value(func() (holdfast.Resolution, error) { return c.Check(ctx, m) })
}

// Decide makes r the truth, unless whoever knows says otherwise.
func (s *Steps) Decide(ctx context.Context, group string, tx activities.Tx, r holdfast.Resolution,
	force bool) (activities.LocalResult, error) {
	if s.Remote != nil {
		return s.decideRemotely(ctx, group, tx, r, force)
	}
	out := activities.LocalResult{ID: tx.ID, Resolution: r}
	if err := s.Databases.Other(tx.Database); err != nil && (!force || othersAsked(ctx)) {
		return out, err
	} else if err != nil {
		return out, nil // nobody else was found in time
	}
	if s.checkerOf(tx.Messages) != nil {
		if known := s.CheckBack(ctx, group, tx); known.Resolution != holdfast.Unknown && known.Resolution != r {
			return out, fmt.Errorf("%w: the Checker of topic %s says %s", holdfast.ErrAlreadyResolved, tx.Messages[0].Topic,
				known.Resolution)
		}
		return out, nil
	}
	if s.DB == nil {
		if force {
			return out, nil
		}
		return out, errors.New("this process has neither a database nor a Checker: use force to decide without")
	}
	outcome, err := barrier.Decide(ctx, barrier.Expect(s.DB, s.Databases.Own()), tx.ID, group, r, s.LockTimeout)
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

// localResult is res as a step returns it.
func localResult(txID string, res barrier.Result) activities.LocalResult {
	out := activities.LocalResult{ID: txID, Resolution: res.Resolution}
	if res.Changed {
		out.Messages = res.Messages
	}
	if res.Err != nil {
		out.Error = res.Err.Error()
	}
	return out
}

var _ interface {
	activities.HalfStore
	activities.Publisher
	activities.OpLog
	activities.Locals
	activities.Truth
	activities.Databases
} = (*Steps)(nil)
