package sagas

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// doWait waits for an answer from outside, which may have come before.
func (s *sagaRun) doWait(ctx workflow.Context, t *try) core.Outcome {
	if t.step.Conditional && !s.m.Step(t.step.Name).Decided {
		if p := s.prepare(ctx, t); p.Outcome.Kind != core.OutcomeDone {
			return p.Outcome
		}
	}
	deadline := s.began(ctx, t).Add(t.step.TryTimeout())
	for {
		if o, ended := s.answered(ctx, t); ended {
			return o
		}
		switch {
		case t.stopped:
			return core.Outcome{Kind: core.OutcomeStopped}
		case t.left:
			return core.Outcome{}
		case !workflow.Now(ctx).Before(deadline):
			return failed(holdfast.ClassTimeout, "no answer within %v", t.step.TryTimeout())
		}
		s.awaitFor(ctx, t, deadline.Sub(workflow.Now(ctx)), s.waitSummary(t), func() bool { return t.answer != nil })
	}
}

// answered returns how a wait ends by its answer, if there is one. One that the
// step's Receive cannot take is refused, and the wait goes on.
func (s *sagaRun) answered(ctx workflow.Context, t *try) (core.Outcome, bool) {
	early, there := s.answers[t.step.Name]
	if !there && t.answer == nil {
		return core.Outcome{}, false
	}
	asked := t.answer
	t.answer = nil
	if asked == nil {
		asked = &request{req: early}
	}
	delete(s.answers, t.step.Name)
	req := asked.req
	if req.Refuse {
		asked.end(nil)
		return core.Outcome{Kind: core.OutcomeRefused, Error: workflows.Clip(req.Operator+": "+req.Reason, maxError)}, true
	}
	t.taking = true // where another process does that, others are heard meanwhile
	o := s.receive(ctx, t, req.Value)
	t.taking = false
	if o.Kind != core.OutcomeFailed {
		asked.end(nil)
		return o, true
	}
	err := fmt.Errorf("step %s cannot take the answer's value: %s; answer again", t.step.Name, o.Error)
	s.tell(ctx, Event{What: "rejected", Step: t.step.Name, Operator: req.Operator, Text: err.Error()})
	asked.end(err)
	return core.Outcome{}, false
}
