package sagaexpress

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// prepareTimeout bounds what only computes.
const prepareTimeout = 30 * time.Second

// replyWait is how long a participant's reply is waited for before the saga goes on in a
// workflow.
const replyWait = time.Second

// Run is a saga that this process runs.
type Run struct {
	lane   *Lane
	half   holdfast.Half
	plan   *core.Plan
	ref    activities.SagaRef
	m      *core.Machine // its driver's
	calls  string        // what the tokens of its calls are made of
	begun  bool          // it has its begin row
	before bool          // it was begun before, by whom is not known

	step    atomic.Pointer[string] // one that is under way
	leave   atomic.Pointer[request]
	applied bool // the machine has what leave asks for
	taken   bool // the workflow was started with it; valid once left is closed
	lost    bool // another drives the saga
	refused atomic.Pointer[error]
	tried   chan struct{} // closed when the first steps have been tried
	untold  sync.Once     // closes tried
	left    chan struct{} // closed when it has ended here, or goes on in a workflow
}

func newRun(l *Lane, plan *core.Plan, id string, half holdfast.Half) *Run {
	s := half.Saga
	return &Run{lane: l, half: half, plan: plan, m: core.New(plan, s.State), calls: uuid.NewString(),
		ref: activities.SagaRef{ID: id, Workflow: id, Group: l.o.Group, Key: s.Key, Name: s.Name, Version: s.Version,
			Database: half.Database, Content: sagas.ContentOf(s.State)},
		tried: make(chan struct{}), left: make(chan struct{})}
}

// Left is closed when the saga has ended in this process, or goes on elsewhere.
func (r *Run) Left() <-chan struct{} { return r.left }

// request is an operator's, for whom the saga goes on in a workflow.
type request struct {
	story sagas.Event
	event core.Event // empty: the workflow is asked
}

// Leave has the saga go on in a workflow after the steps that are under way, and there as
// an operator asks: a pause and a compensation begin here, so that nothing comes between. It
// reports false where somebody has asked before: the workflow is to be asked then.
func (r *Run) Leave(action string, by sagas.Request) bool {
	asked := &request{story: sagas.Event{At: time.Now(), What: action, Operator: by.Operator, Text: by.Reason}}
	if kind := core.EventKind(action); kind == core.Pause || kind == core.Undo {
		asked.event = core.Event{Kind: kind, Operator: by.Operator, Reason: by.Reason}
	}
	return r.leave.CompareAndSwap(nil, asked)
}

// Taken reports whether what Leave asked for is done. Left has to be closed.
func (r *Run) Taken() bool { return r.taken }

// Refused is why this start was none of this saga's: its key is somebody else's. nil: it is
// this saga's, as far as is known.
func (r *Run) Refused() error {
	if err := r.refused.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *Run) refuse(err error) { r.refused.CompareAndSwap(nil, &err) }

// IsFor reports whether it was started with this state.
func (r *Run) IsFor(state []byte) bool { return sagas.ContentOf(state) == r.ref.Content }

// Standing says how the saga stands while this process runs it.
func (r *Run) Standing() holdfast.SagaStanding {
	s := holdfast.SagaStanding{ID: r.ref.ID, State: holdfast.SagaRunning}
	if step := r.step.Load(); step != nil {
		s.Step = *step
	}
	return s
}

// run drives the saga to its end, or hands it over.
func (r *Run) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer close(r.left)
	go func() {
		select {
		case <-r.lane.o.Gate.Over():
			cancel()
		case <-ctx.Done():
		}
	}()
	why := r.drive(ctx)
	if r.mine() && r.m.State().Phase == core.Completed {
		err := r.end(ctx)
		switch {
		case err == nil:
			r.lane.o.Completed(r.ref.ID, r.ref.Name, r.m.State().Data)
			fault.Point(fault.CommitAfterConfirm)
			r.settle(holdfast.Commit)
			return
		case errors.Is(err, barrier.ErrNotHeld):
			r.lost = true
		default:
			why = "that it has completed could not be kept: " + err.Error()
		}
	}
	var err error
	if r.mine() {
		err = r.handOver(ctx, why)
	}
	if r.lost {
		err = r.follow(ctx)
	}
	switch {
	case errors.Is(err, holdfast.ErrDuplicate): // the Keeper makes it a dead letter
		r.refuse(err)
	case err == nil && r.mine():
		r.settle(holdfast.Commit)
	case err == nil:
		r.settle(holdfast.Rollback)
	}
}

// mine reports whether this start drives the saga, as far as is known.
func (r *Run) mine() bool { return !r.lost && r.Refused() == nil }

// follow leaves the saga to who drives it, or tells how it has ended. Of another start, that
// start's half record sees to its end; but who took it for a workflow may not have started that.
func (r *Run) follow(ctx context.Context) error {
	return r.again(ctx, func() (done bool, err error) {
		b, err := barrier.ReadBegun(ctx, r.lane.o.DB, r.ref.ID)
		if err != nil {
			return false, err
		}
		switch {
		case b.Holder == barrier.HolderWorkflow:
			in := r.input()
			in.Data, in.Again = r.half.Saga.State, true // what was done, the rows tell
			_, err = r.lane.o.HandOver(ctx, in)
			return err == nil, err
		case b.Holder == "":
			var last core.State
			if err := json.Unmarshal(b.Last, &last); err != nil {
				return false, holdfast.Permanent(err)
			}
			r.lane.o.Joined(r.ref.ID, last.Data)
		case b.Holder == r.half.TxID:
			return false, errors.New("it is held by this start after all")
		}
		return true, nil
	})
}

// again repeats try until it says that all is done, which is no error. It gives up where the
// Keeper's time comes, or that of the process is over, and at what no repetition mends.
func (r *Run) again(ctx context.Context, try func() (done bool, err error)) error {
	ctx, cancel := context.WithDeadline(ctx, r.half.At.Add(r.lane.o.CheckAfter))
	defer cancel()
	pause := backoff.NewExponentialBackOff()
	for {
		done, err := try()
		if done || holdfast.IsPermanent(err) || errors.Is(err, holdfast.ErrDuplicate) {
			return err
		}
		r.lane.o.Logger.Debug("a saga of the Express lane could not be handed over yet", "saga", r.ref.ID, "error", err)
		select {
		case <-time.After(pause.NextBackOff()):
		case <-r.lane.o.Gate.Stopping():
			return holdfast.ErrNotRunning
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Run) settle(o holdfast.Resolution) { r.lane.broker.Settle(r.ref.Group, r.half.TxID, o) }

// begunSaga is what its begin row keeps while this start drives it.
func (r *Run) begunSaga() barrier.BegunSaga {
	return barrier.BegunSaga{SagaStart: *r.half.Saga, Content: r.ref.Content, Holder: r.half.TxID}
}

// end keeps that the saga has completed: until then nobody is told.
func (r *Run) end(ctx context.Context) error {
	last, err := json.Marshal(r.m.State())
	if err != nil {
		return err
	}
	return barrier.EndSaga(ctx, r.lane.o.DB, r.ref.ID, r.begunSaga(), last)
}

// tell lets go who started it: it is known whether the key is somebody else's.
func (r *Run) tell() { r.untold.Do(func() { close(r.tried) }) }

// ended is how a step's try ended.
type ended struct {
	in  activities.SagaStep
	out activities.SagaResult
}

// drive runs steps until the saga has completed, or something did not end well at once:
// why says what.
func (r *Run) drive(ctx context.Context) (why string) {
	defer r.tell()
	d := &driver{Run: r, steps: r.lane.runner.Load(), results: make(chan ended, core.MaxSteps)}
	effects := r.m.Begin(time.Now())
	for {
		if d.begin(ctx, effects); d.underWay == 0 {
			return d.why
		}
		hangs := time.NewTimer(time.Until(d.until))
		select {
		case x := <-d.results:
			d.underWay--
			effects = d.took(ctx, x)
		case <-hangs.C:
			d.stop("step " + *d.step.Load() + " has not come back in its time")
			return d.why
		}
		if hangs.Stop(); r.begun {
			r.tell()
		}
	}
}

// driver is what drive knows beside the machine, which nobody else touches.
type driver struct {
	*Run
	steps    *runner
	results  chan ended
	underWay int
	until    time.Time // when all that is under way has had its time
	why      string    // why the saga cannot go on here; empty: it can
}

// begin begins what the machine wants, as far as it can be done here.
func (d *driver) begin(ctx context.Context, effects []core.Effect) {
	asked := d.leave.Load()
	if asked != nil {
		d.stop(asked.story.Operator + " steers it")
	}
	quick := slices.DeleteFunc(slices.Clone(effects), func(e core.Effect) bool { return !d.steps.quick(e) })
	alone := len(quick) == 1 && quick[0].Step.Kind == core.Local // it keeps the begin row
	if d.why == "" && !d.begun && !alone && len(quick) > 0 {
		d.beginFirst(ctx)
	}
	for _, e := range effects {
		switch {
		case e.Kind != core.EffectDo: // the machine remembers
		case d.why == "" && d.steps.quick(e):
			in := d.input(e)
			d.step.Store(&in.Step.Name)
			d.underWay++
			if until := time.Now().Add(timeFor(&in.Step)); until.After(d.until) {
				d.until = until
			}
			go func() { d.results <- ended{in, d.steps.try(ctx, in)} }()
		default:
			d.stop("step " + e.Step.Name + " (" + string(e.Step.Kind) + ") is not for the Express lane")
			d.m.Withdraw(e.Step.Name)
		}
	}
	if asked != nil && !d.applied && asked.event.Kind != "" {
		asked.event.At = time.Now()
		_, impossible := d.m.Apply(asked.event) // what it wants, the workflow wants, too
		d.applied = impossible == nil
	}
}

// timeFor is how long a step's first try may take.
func timeFor(s *core.Step) time.Duration {
	if s.Kind == core.Local {
		return s.TryTimeout() + takeWait
	}
	return replyWait + prepareTimeout
}

// beginFirst writes the begin row before anything is begun.
func (d *driver) beginFirst(ctx context.Context) {
	_, err := barrier.BeginSaga(ctx, d.lane.o.DB, d.ref.ID, d.begunSaga())
	if d.begun = err == nil; err != nil {
		d.notBegun(err)
	}
}

// notBegun is the end of a start whose begin row is somebody else's, or could not be kept.
func (d *driver) notBegun(err error) {
	switch {
	case errors.Is(err, holdfast.ErrDuplicate):
		d.refuse(err)
	case errors.Is(err, barrier.ErrNotHeld):
		d.lost = true
	}
	d.stop("its begin row: " + err.Error())
}

func (d *driver) stop(why string) { d.why = cmp.Or(d.why, why) }

// input is that of a step's first try.
func (d *driver) input(e core.Effect) activities.SagaStep {
	step := *e.Step
	step.Steps, step.Saga = nil, nil
	in := activities.SagaStep{Saga: d.ref, Step: step, Try: e.Try, Data: d.m.Given(step.Name), Holder: d.half.TxID}
	if now := d.m.State().Data; !bytes.Equal(now, in.Data) {
		in.Present = now
	}
	if step.Kind == core.Message {
		in.Token, in.Untokened = sagas.CallToken(d.calls, d.ref.ID, step.Name, false), !d.half.Saga.Tokens
		in.Wait = replyWait
	} else if step.Kind == core.Local && !d.begun {
		in.Begin = d.half.Saga
	}
	return in
}

// try runs a step's first try.
func (r *runner) try(ctx context.Context, in activities.SagaStep) activities.SagaResult {
	if in.Step.Kind == core.Choice {
		ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
		defer cancel()
		return r.Prepare(ctx, in)
	}
	fault.Point(fault.SagaDoBefore)
	return r.Do(ctx, in)
}

// took tells the machine how a try ended, and returns what it wants then.
func (d *driver) took(ctx context.Context, x ended) []core.Effect {
	o, step := x.out.Outcome, x.in.Step
	d.ref.Database = cmp.Or(d.ref.Database, x.out.Database)
	if x.in.Begin != nil && o.Kind == core.OutcomeDone {
		if d.begun = x.out.First || d.join(ctx); !d.begun {
			return nil
		}
	}
	switch {
	case x.out.NotHeld:
		d.notBegun(fmt.Errorf("%w: %s", barrier.ErrNotHeld, o.Error))
		return nil
	case x.out.Others && !d.begun:
		d.notBegun(fmt.Errorf("%w: %s", holdfast.ErrDuplicate, o.Error))
		return nil
	}
	switch o.Kind {
	case core.OutcomeDone, core.OutcomePending, core.OutcomeRefused, core.OutcomeBlocked:
		if step.Conditional {
			d.m.Decide(step.Name)
		}
	}
	switch o.Kind {
	case core.OutcomeDone, core.OutcomeSkipped:
	case core.OutcomePending, core.OutcomeNoWorker: // its workflow tries again
		d.stop("step " + step.Name + " has not ended: " +
			cmp.Or(o.Error, "its reply did not come within "+replyWait.String()))
		return nil
	default:
		d.stop("step " + step.Name + " ended " + string(o.Kind) + ": " + o.Error)
	}
	effects, err := d.m.Apply(core.Event{Kind: core.DoEnded, At: time.Now(), Step: step.Name, Outcome: o})
	if err != nil { // of no event of this kind
		d.stop(err.Error())
	}
	return effects
}

// join finds who has begun the saga before, and reports whether it was this start. Where no
// row says so, a workflow has.
func (d *driver) join(ctx context.Context) bool {
	found, err := barrier.ReadBegun(ctx, d.lane.o.DB, d.ref.ID)
	switch {
	case errors.Is(err, holdfast.ErrNotFound):
		d.before = true
		d.stop("it was begun before")
	case err != nil:
		d.before = true
		d.stop("it was begun before, and by whom could not be read: " + err.Error())
	case found.Content != d.ref.Content:
		d.notBegun(fmt.Errorf("%w: saga %s was started with other content", holdfast.ErrDuplicate, d.ref.ID))
	case found.Holder != d.half.TxID:
		d.notBegun(fmt.Errorf("%w: saga %s", barrier.ErrNotHeld, d.ref.ID))
	default:
		return true
	}
	return false
}

// handOver has the workflow Saga carry on with what is known here, once nobody drives it
// any more. Where Temporal does not take it in time, the Keeper hands over what the half
// record says.
func (r *Run) handOver(ctx context.Context, why string) error {
	in, held := r.carryOn(why), false
	return r.again(ctx, func() (done bool, err error) {
		if !held {
			_, held, err = barrier.TakeSaga(ctx, r.lane.o.DB, r.ref.ID, r.half.TxID, r.begunSaga(), takeWait)
			switch {
			case errors.Is(err, barrier.ErrNotHeld), err == nil && !held:
				r.lost = true
				return true, nil
			case errors.Is(err, holdfast.ErrDuplicate):
				r.refuse(err)
				return true, nil
			case err != nil:
				return false, err
			}
		}
		started, err := r.lane.o.HandOver(ctx, in)
		r.taken = r.applied && !r.before && started && err == nil
		return err == nil, err
	})
}

// input is that of the workflow that carries the saga on, without what is known of it.
func (r *Run) input() sagas.Input {
	o := r.lane.o
	return sagas.Input{ID: r.ref.ID, Group: o.Group, Prefix: o.Prefix, Name: r.ref.Name, Key: r.ref.Key, Plan: r.plan,
		Version: r.ref.Version, Database: r.ref.Database, Tokens: r.half.Saga.Tokens, StepNames: o.StepNames(*r.plan),
		Content: r.ref.Content, Begun: true}
}

// carryOn is the input of the workflow that carries the saga on with what is known here.
func (r *Run) carryOn(why string) sagas.Input {
	in := r.input()
	if r.before { // what it did then, the rows tell
		in.Data, in.Again = r.half.Saga.State, true
		return in
	}
	known := sagas.Status{Core: *r.m.State(), Database: r.ref.Database, Story: []sagas.Event{{At: time.Now(),
		What: "handed-over", Text: "process " + r.lane.o.Instance + " ran it in the Express lane: " + why}}}
	if r.applied {
		by := r.leave.Load().story
		known.State, known.Reason = r.m.Standing(), by.Operator+": "+by.Text
		known.Story = append(known.Story, by)
	}
	in.Resumed, in.Renewed, in.Calls = &known, true, r.calls
	return in
}
