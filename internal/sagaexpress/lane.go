// Package sagaexpress runs sagas in the Express lane: in the process that starts them, for
// as long as each step ends well at once. A half record keeps the saga meanwhile. Whatever
// does not end so goes on in the workflow Saga: this process starts it with what it knows,
// or, where it dies, the Keeper with what the half record says. The step rows tell the
// workflow what was done.
package sagaexpress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// Broker stores half records.
type Broker interface {
	PublishHalf(ctx context.Context, h holdfast.Half) error
	Settle(group, txID string, r holdfast.Resolution)
}

// Gate is the process as its callers see it.
type Gate interface {
	// Enter lets a caller in, who is counted until Leave.
	Enter(ctx context.Context) error
	Leave()
	// Go runs f, which counts as a caller.
	Go(f func())
	// Stopping is closed when nobody new is let in, and Over when nobody is waited for
	// any more.
	Stopping() <-chan struct{}
	Over() <-chan struct{}
}

// Options are those of a process's lane of sagas.
type Options struct {
	Group, Prefix, Instance string
	// DB is where the local steps and the begin rows are, Database its identity.
	DB       *gorm.DB
	Database func() string
	// Tokens and StepNames are as in [sagas.Input].
	Tokens    bool
	StepNames func(core.Plan) bool
	Gate      Gate
	// CheckAfter is when the Keeper hands over what nobody has settled.
	CheckAfter time.Duration
	// HandOver starts the workflow of a saga, or finds that it has one.
	HandOver func(ctx context.Context, in sagas.Input) (started bool, err error)
	// Completed is told of a saga that has completed, with its last state, and Joined of one
	// that was started again after that.
	Completed func(saga activities.SagaRef, began time.Time, state []byte)
	Joined    func(id string, state []byte)
	// Deserted reports whether the workflow of the cohort that holds a saga has ended, and Plan
	// finds the definition of one that another process has started; nil: it is not here.
	Deserted func(ctx context.Context, holder string) bool
	Plan     func(name string, version int) *core.Plan
	// Most bounds the sagas that this process runs at a time.
	Most   int
	Logger *slog.Logger
}

// Lane is a process's lane of sagas. Its methods may be called from many goroutines.
type Lane struct {
	// Patience, if not 0, is how long a reply and the members of a cohort are waited for. It is
	// for tests, and set before the first saga is started.
	Patience time.Duration

	o       Options
	broker  Broker
	runner  atomic.Pointer[runner]
	slots   chan struct{}
	mu      sync.Mutex
	running map[string]*Run // by the saga's ID; of several, the last
	// expected are the members of cohorts that this process has started, by workflow and ID;
	// cohorts are those that it drives, by workflow and run.
	expected map[string]map[string]*Run
	cohorts  map[string]*cohort
	begun    chan struct{} // closed
}

// Runner runs steps: [sagarun.Runner] is one.
type Runner interface {
	activities.SagaRunner
	// DoFirst does the local steps that a saga begins with in one transaction with its begin row.
	DoFirst(ctx context.Context, b barrier.BegunSaga, s activities.SagaStep, next func(core.Outcome) (
		more *activities.SagaStep, last json.RawMessage, err error)) (did bool, err error)
}

// runner runs steps; calls says that it can ask participants, too.
type runner struct {
	Runner
	calls bool
}

// New returns the lane. Connect and Use have to follow.
func New(o Options) *Lane {
	return &Lane{o: o, slots: make(chan struct{}, o.Most), running: map[string]*Run{},
		expected: map[string]map[string]*Run{}, cohorts: map[string]*cohort{}, begun: closed()}
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Connect gives the lane its broker, before the first saga is started.
func (l *Lane) Connect(b Broker) { l.broker = b }

// Use has the lane run steps with r from now on; calls says that r can ask participants.
func (l *Lane) Use(r Runner, calls bool) { l.runner.Store(&runner{r, calls}) }

// Takes reports whether a saga of this plan can begin here.
func (l *Lane) Takes(plan *core.Plan) bool {
	steps := l.runner.Load()
	if l.o.DB == nil || steps == nil {
		return false
	}
	for _, e := range core.New(plan, []byte("{}")).Begin(time.Time{}) {
		if !steps.quick(e) {
			return false
		}
	}
	return true
}

// quick reports whether an effect is the first try of a step that may end at once.
func (r *runner) quick(e core.Effect) bool {
	if e.Kind != core.EffectDo || e.Try > 1 {
		return false
	}
	switch e.Step.Kind {
	case core.Local, core.Choice:
		return true
	case core.Message:
		return r.calls
	}
	return false
}

// Start stores the half record of a saga, runs it, and returns once its first steps have
// been tried, or ctx is done: from the half record on it is durably started. A key that
// was used for other content is a [holdfast.ErrDuplicate], as far as the step rows and
// the begin row tell. The caller is counted at the gate.
func (l *Lane) Start(ctx context.Context, plan *core.Plan, id string, s holdfast.SagaStart) (*Run, error) {
	if err := core.CheckData(s.State); err != nil {
		return nil, err
	}
	tx, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("holdfast: make an ID: %w", err)
	}
	release, err := l.Room(ctx)
	if err != nil {
		return nil, err
	}
	s.Tokens = l.o.Tokens
	half := holdfast.Half{TxID: tx.String(), Group: l.o.Group, At: time.Now(), Lane: holdfast.Express,
		Database: l.o.Database(), Saga: &s}
	if err := l.broker.PublishHalf(ctx, half); err != nil {
		release()
		return nil, notStored(id, err)
	}
	fault.Point(fault.HalfAfterConfirm)
	r := newRun(l, plan, id, half)
	r.release = release
	l.enter(r)
	l.o.Gate.Go(func() {
		defer l.leave(r)
		r.run(ctx)
	})
	select {
	case <-r.tried:
		return r, r.Refused()
	case <-ctx.Done():
		return r, nil
	}
}

// Room waits until this process may run a saga more, and returns what says that it does not any
// more.
func (l *Lane) Room(ctx context.Context) (release func(), err error) {
	select {
	case l.slots <- struct{}{}:
		return l.release, nil
	case <-l.o.Gate.Over():
		return nil, holdfast.ErrNotRunning
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %d sagas are under way in this process, as many as Tuning.MaxSagas allows: %w",
			holdfast.ErrNotStored, l.o.Most, context.Cause(ctx))
	}
}

func (l *Lane) release() { <-l.slots }

// Load returns how many sagas this process runs or has gather, and how many it may.
func (l *Lane) Load() (running, most int) { return len(l.slots), l.o.Most }

// notStored is the error of a half record that RabbitMQ has not confirmed.
func notStored(id string, err error) error {
	if errors.Is(err, holdfast.ErrInvalid) || errors.Is(err, holdfast.ErrTooLarge) {
		return err
	}
	return &holdfast.UnavailableError{Part: "RabbitMQ", Err: fmt.Errorf("start saga %s: %w", id, err),
		Remedy: "it may have been started: start it again with the same key"}
}

func (l *Lane) enter(r *Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[r.ref.ID] = r
}

func (l *Lane) leave(r *Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[r.ref.ID] == r {
		delete(l.running, r.ref.ID)
	}
}

// Running returns the saga of that ID which this process runs, or nil.
func (l *Lane) Running(id string) *Run {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running[id]
}

// Count returns how many sagas this process runs, for tests.
func (l *Lane) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.running)
}

// Begun is what a saga was started with that has begun in the Express lane; it is
// [holdfast.ErrNotFound] where no row of this process's database says so.
func (l *Lane) Begun(ctx context.Context, id string) (barrier.BegunSaga, error) {
	if l.o.DB == nil {
		return barrier.BegunSaga{}, fmt.Errorf("%w: this process has no database", holdfast.ErrNotFound)
	}
	return barrier.ReadBegun(ctx, l.o.DB, id)
}

// Take makes the workflow the one that drives a saga, whoever drives it now; see
// [barrier.TakeSaga].
func (l *Lane) Take(ctx context.Context, id string, b barrier.BegunSaga, wait time.Duration) (
	barrier.BegunSaga, error) {
	found, _, err := barrier.TakeSaga(ctx, l.o.DB, id, "", b, wait)
	return found, err
}

// Did reports whether a saga's local step has been done, as its row tells.
func (l *Lane) Did(ctx context.Context, id, step string) (bool, error) {
	did, err := barrier.DidStep(ctx, l.o.DB, id, step)
	return did.Done, err
}

// Reopen makes the workflow the one that says how a completed saga stands.
func (l *Lane) Reopen(ctx context.Context, id string, b barrier.BegunSaga) error {
	return barrier.ReopenSaga(ctx, l.o.DB, id, b.Content, false, takeWait)
}

// Has reports whether this process has the database of a saga; empty: that of its group.
func (l *Lane) Has(database string) bool {
	return l.o.DB != nil && (database == "" || database == l.o.Database())
}
