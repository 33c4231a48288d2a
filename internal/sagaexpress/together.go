package sagaexpress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/saga/core"
)

// together is how the local steps that a saga begins with are done in one transaction with its
// begin row: with a machine of its own, so that they can be done one by one where that fails.
type together struct {
	m       *core.Machine
	first   []core.Effect // what the saga wanted at its beginning
	effects []core.Effect // what it wants after them
	steps   []activities.SagaMemberStep
	began   time.Time
	did     bool
	ended   bool // it has completed with them, and the begin row says so
	err     error
}

// beginTogether begins that, and reports false where it does not apply.
func (d *driver) beginTogether(ctx context.Context, effects []core.Effect) bool {
	if d.plan.OneByOne || d.leave.Load() != nil || !d.shares(effects) {
		return false
	}
	t := &together{m: core.New(d.plan, d.half.Saga.State), first: effects, began: time.Now()}
	t.effects = t.m.Begin(time.Now())
	d.underWay++
	d.first = t
	s := d.inputTogether(t)
	go func() {
		t.did, t.err = d.steps.DoFirst(ctx, d.begunSaga(), *s,
			func(o core.Outcome) (more *activities.SagaStep, last json.RawMessage, err error) {
				if last, err = t.took(s, o); err == nil && !t.ended && d.leave.Load() == nil && d.shares(t.effects) {
					more = d.inputTogether(t)
					s = more
				}
				return more, last, err
			})
		d.results <- ended{together: t}
	}()
	return true
}

// shares reports whether these effects are the first try of one local step that can be done
// together with others.
func (d *driver) shares(effects []core.Effect) bool {
	return len(effects) == 1 && d.steps.quick(effects[0]) && effects[0].Step.Kind == core.Local &&
		!effects[0].Step.UndoUncertain
}

func (d *driver) inputTogether(t *together) *activities.SagaStep {
	in := d.input(t.m, t.effects[0])
	d.step.Store(&in.Step.Name)
	until := time.Now().Add(d.lane.timeFor(&in.Step))
	d.until.Store(&until)
	fault.Point(fault.SagaDoBefore)
	return &in
}

// took tells the machine how a step ended. An error rolls all of them back. last is the
// saga's state where it has completed.
func (t *together) took(s *activities.SagaStep, o core.Outcome) (last json.RawMessage, err error) {
	if o.Kind == core.OutcomeDone && s.Step.Conditional {
		t.m.Decide(s.Step.Name)
	}
	t.steps = append(t.steps, stepEnd(s.Step.Name, o, time.Since(t.began)))
	t.began = time.Now()
	t.effects, err = t.m.Apply(core.Event{Kind: core.DoEnded, At: time.Now(), Step: s.Step.Name, Outcome: o})
	if err != nil {
		return nil, err
	}
	if at := t.m.Step(s.Step.Name); at.Status != core.Done && at.Status != core.Skipped { // its result was not taken
		return nil, fmt.Errorf("step %s: %s", s.Step.Name, at.Error)
	}
	if t.ended = t.m.State().Phase == core.Completed; t.ended {
		last, err = json.Marshal(t.m.State())
	}
	return last, err
}

// tookTogether returns what the saga wants after them: where they were not done, what it
// wanted before. t is nil where a single step has ended.
func (d *driver) tookTogether(t *together) []core.Effect {
	if t == nil {
		return nil
	}
	d.first = nil
	if !t.did {
		if t.err == nil || errors.Is(t.err, barrier.ErrInDoubt) { // the rows tell, once they are looked at
			d.m.DoneBefore()
		}
		d.lane.o.Logger.Debug("the first steps of a saga are done one by one", "saga", d.ref.ID, "error", t.err)
		return t.first
	}
	d.m, d.begun, d.ended = t.m, true, t.ended
	d.seat.didAll(t.steps)
	return t.effects
}
