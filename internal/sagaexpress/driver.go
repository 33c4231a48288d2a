package sagaexpress

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

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

// ended is how a step's try ended, or the first steps did.
type ended struct {
	in       activities.SagaStep
	out      activities.SagaResult
	began    time.Time
	together *together // not nil: several did, and the others are empty
}

// drive runs steps until the saga has completed, or something did not end well at once:
// why says what.
func (r *Run) drive(ctx context.Context) (why string) {
	defer r.tell()
	d := &driver{Run: r, steps: r.lane.runner.Load(), results: make(chan ended, core.MaxSteps)}
	effects := r.m.Begin(time.Now())
	if !d.beginTogether(ctx, effects) {
		d.begin(ctx, effects)
	}
	for d.underWay > 0 {
		until := *d.until.Load()
		hangs := time.NewTimer(time.Until(until))
		select {
		case x := <-d.results:
			d.underWay--
			if effects = d.tookTogether(x.together); x.together == nil {
				d.seat.did(x.in.Step.Name, x.out.Outcome, time.Since(x.began))
				effects = d.took(ctx, x)
			}
			if d.underWay == 0 && len(effects) > 0 && d.why == "" && (x.together == nil || x.together.did) {
				d.seat.pass()
			}
		case <-hangs.C:
			if d.until.Load().After(until) { // another one of the first steps is under way
				continue
			}
			if d.first != nil { // all of them may be done yet
				d.m.DoneBefore()
			}
			d.stop("step " + *d.step.Load() + " has not come back in its time")
			return d.why
		}
		if hangs.Stop(); r.begun {
			r.tell()
		}
		d.begin(ctx, effects)
	}
	return d.why
}

// driver is what drive knows beside the machine, which nobody else touches.
type driver struct {
	*Run
	steps    *runner
	results  chan ended
	first    *together // while it is under way
	underWay int
	until    atomic.Pointer[time.Time] // when all that is under way has had its time
	why      string                    // why the saga cannot go on here; empty: it can
}

// begin begins what the machine wants, as far as it can be done here.
func (d *driver) begin(ctx context.Context, effects []core.Effect) {
	asked := d.leave.Load()
	switch {
	case asked == nil:
	case asked.slow:
		d.stop("it takes longer than its cohort waits")
	default:
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
			in := d.input(d.m, e)
			d.step.Store(&in.Step.Name)
			d.underWay++
			if until := time.Now().Add(d.lane.timeFor(&in.Step)); d.until.Load() == nil || until.After(*d.until.Load()) {
				d.until.Store(&until)
			}
			go func(began time.Time) {
				d.results <- ended{in: in, began: began, out: d.steps.try(ctx, in)}
			}(time.Now())
		default:
			d.stop("step " + e.Step.Name + " (" + string(e.Step.Kind) + ") needs a workflow of its own")
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
func (l *Lane) timeFor(s *core.Step) time.Duration {
	if s.Kind == core.Local {
		return s.TryTimeout() + takeWait
	}
	return l.replyWait() + prepareTimeout
}

// replyWait is how long a participant's reply is waited for.
func (l *Lane) replyWait() time.Duration { return cmp.Or(l.Patience, replyWait) }

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
func (d *driver) input(m *core.Machine, e core.Effect) activities.SagaStep {
	step := *e.Step
	step.Steps, step.Saga = nil, nil
	in := activities.SagaStep{Saga: d.ref, Step: step, Try: e.Try, Data: m.Given(step.Name), Holder: d.half.TxID}
	if now := m.State().Data; !bytes.Equal(now, in.Data) {
		in.Present = now
	}
	if step.Kind == core.Message {
		in.Token, in.Untokened = sagas.CallToken(d.calls, d.ref.ID, step.Name, false), !d.half.Saga.Tokens
		in.Wait = d.lane.replyWait()
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
			cmp.Or(o.Error, "its reply did not come within "+d.lane.replyWait().String()))
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
