package sagas

import (
	"encoding/json"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

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
	for ; err != nil; err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activities.SagaOwn, in).Get(ctx, &out) {
		s.detailed, s.changed = true, true
	}
	s.owned, s.other, s.changed = true, out.Other, true
	var ended core.State
	switch {
	case len(out.Ended) > 0 && json.Unmarshal(out.Ended, &ended) == nil:
		s.m = core.Resume(s.in.Plan, ended)
		if out.Version != s.in.Plan.Version {
			*s.in.Plan, s.planned = core.Plan{Name: s.in.Name, Version: out.Version}, false
			s.in.Resumed = &Status{Core: ended}
		}
	case out.Begun:
		s.in.Again = true
		s.m.DoneBefore()
	}
	s.leave(t)
	s.start(ctx)
}
