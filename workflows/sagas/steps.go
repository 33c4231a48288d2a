package sagas

import (
	"encoding/json"
	"time"

	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// do tries a step's Do.
func (s *sagaRun) do(ctx workflow.Context, t *try) core.Outcome {
	if t.stopped {
		return core.Outcome{Kind: core.OutcomeStopped}
	}
	switch t.step.Kind {
	case core.Local:
		return s.doLocal(ctx, t)
	case core.Message:
		return s.message(ctx, t, activities.SagaDo)
	case core.Activity:
		return s.doActivity(ctx, t)
	case core.Wait:
		return s.doWait(ctx, t)
	case core.Saga:
		return s.doSub(ctx, t)
	case core.Choice:
		return s.prepare(ctx, t).Outcome
	}
	return failed(holdfast.ClassPermanent, "this version of Holdfast has no steps of kind %q", t.step.Kind)
}

// undo tries a step's Undo. It is a regular activity: all that was done before is
// recorded before it begins.
func (s *sagaRun) undo(ctx workflow.Context, t *try) core.Outcome {
	switch t.step.Kind {
	case core.Local:
		return s.regular(ctx, t, activities.SagaUndo, s.summary(t), runFor(t.step), s.step(ctx, t), false).Outcome
	case core.Message:
		return s.message(ctx, t, activities.SagaUndo)
	case core.Activity:
		return s.undoActivity(ctx, t)
	case core.Saga:
		return s.undoSub(ctx, t)
	}
	return core.Outcome{Kind: core.OutcomeDone}
}

// doLocal does a local step: at first within this workflow task; later tries are
// regular activities, which the Temporal UI shows while they run.
func (s *sagaRun) doLocal(ctx workflow.Context, t *try) core.Outcome {
	if t.n == 1 {
		return s.local(ctx, t, activities.SagaDo, s.summary(t), runFor(t.step), s.step(ctx, t)).Outcome
	}
	return s.regular(ctx, t, activities.SagaDo, s.summary(t), runFor(t.step), s.step(ctx, t), false).Outcome
}

// prepareTimeout bounds what only computes.
const prepareTimeout = 30 * time.Second

// prepare decides about a condition or a choice, and makes what an activity or a
// sub-saga gets.
func (s *sagaRun) prepare(ctx workflow.Context, t *try) activities.SagaResult {
	p := s.local(ctx, t, activities.SagaPrepare, s.prepareSummary(t), prepareTimeout, s.step(ctx, t))
	s.decided(t, p.Outcome)
	return p
}

// decided notes that a step's condition holds, where the outcome of asking says so.
func (s *sagaRun) decided(t *try, o core.Outcome) {
	switch o.Kind {
	case core.OutcomeDone, core.OutcomePending, core.OutcomeRefused, core.OutcomeBlocked:
		if t.step.Conditional && !t.undo {
			s.m.Decide(t.step.Name)
		}
	}
}

// receive takes the result of a step that was done into the state.
func (s *sagaRun) receive(ctx workflow.Context, t *try, result []byte) core.Outcome {
	if t.undo || !t.step.Receives {
		return core.Outcome{Kind: core.OutcomeDone}
	}
	in := s.step(ctx, t)
	in.Data, in.Present, in.Result = s.m.State().Data, nil, result
	return s.local(ctx, t, activities.SagaReceive, "result of "+t.step.Name, prepareTimeout, in).Outcome
}

// runFor is how long one try of a local step may take, and what it needs to say so
// itself.
func runFor(s *core.Step) time.Duration { return s.TryTimeout() + 5*time.Second }

// findPlan looks for a worker that has the saga, and begins it.
func (s *sagaRun) findPlan(ctx workflow.Context) {
	t := &try{step: &core.Step{Name: "the plan"}}
	s.tries = append(s.tries, t)
	var found activities.SagaPlanned
	ref := s.ref(ctx)
	summary := "the definition of " + s.in.Name
	lctx := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: 5 * time.Second, RetryPolicy: once, Summary: workflows.Shorten(summary)})
	err := workflow.ExecuteLocalActivity(lctx, activities.SagaPlan, ref).Get(ctx, &found)
	s.in.StepNames = err == nil && found.StepNames     // the process that runs this workflow task says so
	if err != nil && s.in.Undo == nil && s.m.Ended() { // it has completed, whatever the plan
		s.opening, s.changed = false, true
	}
	options := s.options(summary, 10*time.Second, 0, 5*time.Second)
	for err != nil && !s.ended() {
		s.detailed, s.changed = true, true
		if s.opening { // t is not due, so nothing is heard: without the plan nobody can say what to undo
			err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activities.SagaPlan, ref).Get(ctx, &found)
		} else {
			err = s.activity(ctx, t, activities.SagaPlan, options, ref, &found, s.ended)
		}
	}
	s.leave(t)
	if err != nil {
		return
	}
	plan, err := found.Complete()
	if s.invalid = err; err != nil {
		return
	}
	*s.in.Plan, s.planned, s.changed, s.planSize = plan, true, true, 0
	s.start(ctx)
}

// notOwned says what a process lacks that could not make a workflow the one that drives a saga.
func notOwned(err error) string {
	if hasType(err, activities.OtherDatabaseType) {
		return "has the saga's database: " + workflows.RootMessage(err)
	}
	return "could take the saga's begin row: " + workflows.RootMessage(err)
}

// own makes this workflow the one that drives the saga, which a process may have begun in the
// Express lane, or completed there. Whatever comes from outside is heard after that.
func (s *sagaRun) own(ctx workflow.Context) {
	t := &try{step: &core.Step{Name: "the begin row"}} // not due: so nothing is heard
	s.tries = append(s.tries, t)
	in, out := activities.SagaOwning{Saga: s.ref(ctx), Undo: s.in.Undo != nil}, activities.SagaOwned{}
	summary := "the begin row of " + s.in.Name
	lctx := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: 10 * time.Second, RetryPolicy: once, Summary: workflows.Shorten(summary)})
	err := workflow.ExecuteLocalActivity(lctx, activities.SagaOwn, in).Get(ctx, &out)
	options := s.options(summary, 30*time.Second, 0, time.Second)
	options.RetryPolicy.NonRetryableErrorTypes = nil // others may have the database, or this version
	actx := workflow.WithActivityOptions(ctx, options)
	for ; err != nil; err = workflow.ExecuteActivity(actx, activities.SagaOwn, in).Get(ctx, &out) {
		s.detailed, s.changed, s.stranded = true, true, notOwned(err)
	}
	s.owned, s.other, s.changed, s.stranded = true, out.Other, true, ""
	if s.in.Database == "" {
		s.in.Database = out.Database
	}
	var ended core.State
	//workflowcheck:ignore it decides by data alone
	completed := len(out.Ended) > 0 && json.Unmarshal(out.Ended, &ended) == nil
	switch {
	case completed:
		s.m = core.Resume(s.in.Plan, ended)
		s.goesBy(out.Version)
	case out.Begun:
		s.in.Again = true
		s.m.DoneBefore()
		if out.Version != 0 { // processes before this version did not say it
			s.goesBy(out.Version)
		}
	}
	if s.leave(t); s.other == "" {
		s.start(ctx)
	}
}

// goesBy has the saga go on by the plan that it was begun with, whatever the version of who
// started it here: another one's steps are not those that were done.
func (s *sagaRun) goesBy(version int) {
	if version != s.in.Plan.Version {
		*s.in.Plan, s.planned = core.Plan{Name: s.in.Name, Version: version}, false
		s.in.Begun = true
	}
}
