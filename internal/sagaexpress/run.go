package sagaexpress

import (
	"bytes"
	"cmp"
	"context"
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

// replyWait is how long a participant's reply is waited for before the saga goes on in a
// workflow.
const replyWait = time.Second

// Run is a saga that this process runs.
type Run struct {
	lane  *Lane
	half  holdfast.Half
	plan  *core.Plan
	ref   activities.SagaRef
	m     *core.Machine // its driver's
	calls string        // what the tokens of its calls are made of
	begun bool          // it has its begin row

	step    atomic.Pointer[string] // one that is under way
	leave   atomic.Pointer[request]
	taken   bool          // what leave asks for is done; valid once left is closed
	refused error         // the key is somebody else's; valid once tried is closed
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
// an operator asks: a pause and a compensation begin here, so that nothing comes between.
func (r *Run) Leave(action string, by sagas.Request) {
	asked := &request{story: sagas.Event{At: time.Now(), What: action, Operator: by.Operator, Text: by.Reason}}
	if kind := core.EventKind(action); kind == core.Pause || kind == core.Undo {
		asked.event = core.Event{Kind: kind, Operator: by.Operator, Reason: by.Reason}
	}
	r.leave.CompareAndSwap(nil, asked)
}

// Taken reports whether what Leave asked for is done. Left has to be closed.
func (r *Run) Taken() bool { return r.taken }

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
	r.untold.Do(func() { close(r.tried) })
	if r.refused != nil {
		r.lane.broker.Settle(r.ref.Group, r.half.TxID, holdfast.Rollback)
		return
	}
	if r.m.State().Phase == core.Completed {
		err := r.keepBegin(ctx)
		if err == nil {
			r.lane.o.Completed(r.ref.ID, r.ref.Name, r.m.State().Data)
			fault.Point(fault.CommitAfterConfirm)
			r.lane.broker.Settle(r.ref.Group, r.half.TxID, holdfast.Commit)
			return
		}
		why = "its begin row could not be kept: " + err.Error()
	}
	r.handOver(ctx, why)
}

// keepBegin sees to the begin row where no local step has: an ended saga is found by it.
func (r *Run) keepBegin(ctx context.Context) error {
	if r.begun {
		return nil
	}
	return barrier.BeginSaga(ctx, r.lane.o.DB, r.ref.ID, r.ref.Content, *r.half.Saga)
}

// ended is how a step's try ended.
type ended struct {
	step *core.Step
	out  activities.SagaResult
}

// drive runs steps until the saga has completed, or something did not end well at once:
// why says what.
func (r *Run) drive(ctx context.Context) (why string) {
	d := &driver{Run: r, steps: r.lane.runner.Load(), results: make(chan ended, 1)}
	if err := d.begin(ctx, r.m.Begin(time.Now())); errors.Is(err, holdfast.ErrDuplicate) {
		r.refused = err // nothing was begun
		return d.why
	}
	first, others := d.underWay, 0
	for done := 0; d.underWay > 0; {
		x := <-d.results
		d.underWay--
		if x.out.Others {
			others++
		}
		_ = d.begin(ctx, d.took(x))                   // it has stopped d
		if done++; done == first && others == first { // nothing of this start has taken effect
			r.refused = fmt.Errorf("%w: %s", holdfast.ErrDuplicate, x.out.Outcome.Error)
			return d.why
		} else if done == first {
			r.untold.Do(func() { close(r.tried) })
		}
	}
	return d.why
}

// driver is what drive knows beside the machine, which nobody else touches.
type driver struct {
	*Run
	steps     *runner
	results   chan ended
	underWay  int
	beginning bool   // a step that is under way keeps the begin row
	why       string // why the saga cannot go on here; empty: it can
}

// begin begins what the machine wants, as far as it can be done here. The error is one of
// the begin row, and the saga goes on elsewhere.
func (d *driver) begin(ctx context.Context, effects []core.Effect) error {
	asked := d.leave.Load()
	if asked != nil {
		d.stop(asked.story.Operator + " steers it")
	}
	err := d.beginFirst(ctx, effects)
	for _, e := range effects {
		switch {
		case e.Kind != core.EffectDo: // the machine remembers
		case d.why == "" && d.steps.quick(e):
			in := d.input(e)
			d.step.Store(&in.Step.Name)
			d.underWay++
			go func() { d.results <- ended{e.Step, d.steps.try(ctx, in)} }()
		default:
			d.stop("step " + e.Step.Name + " (" + string(e.Step.Kind) + ") is not for the Express lane")
			d.m.Withdraw(e.Step.Name)
		}
	}
	if asked != nil && !d.taken && asked.event.Kind != "" {
		asked.event.At = time.Now()
		_, impossible := d.m.Apply(asked.event) // what it wants, the workflow wants, too
		d.taken = impossible == nil
	}
	return err
}

// beginFirst writes the begin row before the first call, unless a local step does: what a
// participant is asked is asked for this start of the key.
func (d *driver) beginFirst(ctx context.Context, effects []core.Effect) error {
	is := func(kind core.Kind) func(core.Effect) bool {
		return func(e core.Effect) bool { return e.Kind == core.EffectDo && e.Step.Kind == kind }
	}
	if d.begun || d.beginning || d.why != "" || slices.ContainsFunc(effects, is(core.Local)) ||
		!slices.ContainsFunc(effects, is(core.Message)) {
		return nil
	}
	err := d.keepBegin(ctx)
	if d.begun = err == nil; err != nil {
		d.stop("its begin row could not be kept: " + err.Error())
	}
	return err
}

func (d *driver) stop(why string) { d.why = cmp.Or(d.why, why) }

// input is that of a step's first try.
func (d *driver) input(e core.Effect) activities.SagaStep {
	step := *e.Step
	step.Steps, step.Saga = nil, nil
	in := activities.SagaStep{Saga: d.ref, Step: step, Try: e.Try, Data: d.m.Given(step.Name)}
	if now := d.m.State().Data; !bytes.Equal(now, in.Data) {
		in.Present = now
	}
	switch {
	case step.Kind == core.Message:
		in.Token, in.Untokened = sagas.CallToken(d.calls, d.ref.ID, step.Name, false), !d.half.Saga.Tokens
		in.Wait = replyWait
	case step.Kind == core.Local && !d.begun && !d.beginning:
		in.Begin, d.beginning = d.half.Saga, true
	}
	return in
}

// try runs a step's first try.
func (r *runner) try(ctx context.Context, in activities.SagaStep) activities.SagaResult {
	if in.Step.Kind == core.Choice {
		return r.Prepare(ctx, in)
	}
	fault.Point(fault.SagaDoBefore)
	return r.Do(ctx, in)
}

// took tells the machine how a try ended, and returns what it wants then.
func (d *driver) took(x ended) []core.Effect {
	o := x.out.Outcome
	d.ref.Database = cmp.Or(d.ref.Database, x.out.Database)
	if x.step.Kind == core.Local && d.beginning {
		d.begun, d.beginning = o.Kind == core.OutcomeDone && x.out.First, false
	}
	switch o.Kind {
	case core.OutcomeDone, core.OutcomePending, core.OutcomeRefused, core.OutcomeBlocked:
		if x.step.Conditional {
			d.m.Decide(x.step.Name)
		}
	}
	switch o.Kind {
	case core.OutcomeDone, core.OutcomeSkipped:
	case core.OutcomePending, core.OutcomeNoWorker: // its workflow tries again
		d.stop("step " + x.step.Name + " has not ended: " +
			cmp.Or(o.Error, "its reply did not come within "+replyWait.String()))
		return nil
	default:
		d.stop("step " + x.step.Name + " ended " + string(o.Kind) + ": " + o.Error)
	}
	effects, err := d.m.Apply(core.Event{Kind: core.DoEnded, At: time.Now(), Step: x.step.Name, Outcome: o})
	if err != nil { // of no event of this kind
		d.stop(err.Error())
	}
	return effects
}

// handOver has the workflow Saga carry on with what is known here. Where Temporal does not
// take it in time, the Keeper hands over what the half record says.
func (r *Run) handOver(ctx context.Context, why string) {
	l := r.lane
	ctx, cancel := context.WithDeadline(ctx, r.half.At.Add(l.o.CheckAfter))
	defer cancel()
	in, pause := r.carryOn(why), backoff.NewExponentialBackOff()
	for {
		err := l.o.HandOver(ctx, in)
		if err == nil {
			l.broker.Settle(r.ref.Group, r.half.TxID, holdfast.Commit)
			return
		}
		l.o.Logger.Debug("a saga of the Express lane could not be handed over yet", "saga", r.ref.ID, "error", err)
		if errors.Is(err, holdfast.ErrDuplicate) {
			return // the Keeper tells, as long as it is so
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-l.o.Gate.Stopping():
			return
		case <-ctx.Done():
			return
		}
	}
}

// carryOn is the input of the workflow that carries the saga on.
func (r *Run) carryOn(why string) sagas.Input {
	o := r.lane.o
	known := sagas.Status{Core: *r.m.State(), Database: r.ref.Database, Story: []sagas.Event{{At: time.Now(),
		What: "handed-over", Text: "process " + o.Instance + " ran it in the Express lane: " + why}}}
	if r.taken {
		asked := r.leave.Load().story
		known.State, known.Reason = r.m.Standing(), asked.Operator+": "+asked.Text
		known.Story = append(known.Story, asked)
	}
	return sagas.Input{ID: r.ref.ID, Group: o.Group, Prefix: o.Prefix, Name: r.ref.Name, Key: r.ref.Key, Plan: r.plan,
		Version: r.ref.Version, Database: r.ref.Database, Tokens: r.half.Saga.Tokens, StepNames: o.StepNames(*r.plan),
		Content: r.ref.Content, Calls: r.calls, Resumed: &known, Renewed: true}
}
