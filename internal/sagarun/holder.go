package sagarun

import (
	"context"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
)

// own does a step. With the first steps of a saga, a workflow sees to it that it is the one
// that drives the saga: of the Express lane, a process may have begun it under the same key.
// Every workflow does so, whatever the lane of its definition: other processes may have
// another one.
func (r *Runner) own(ctx context.Context, c *saga.Compiled, s activities.SagaStep,
	do func(context.Context, *saga.Compiled, activities.SagaStep) activities.SagaResult) activities.SagaResult {
	if s.Holder != "" || r.DB == nil || !c.BeginsWith(s.Step.Name) {
		return do(ctx, c, s)
	}
	start := holdfast.SagaStart{Name: s.Saga.Name, Version: s.Saga.Version, Key: s.Saga.Key}
	mine := s
	if mine.Holder = barrier.HolderWorkflow; s.Step.Kind == core.Local {
		mine.Begin = &start
		if out := do(ctx, c, mine); out.First && out.Outcome.Kind == core.OutcomeDone {
			return out // and its begin row with it
		} else if !out.NotHeld {
			return r.owned(ctx, mine, start, func() activities.SagaResult { return out })
		}
	}
	return r.owned(ctx, mine, start, func() activities.SagaResult { return do(ctx, c, mine) })
}

// owned makes the workflow the one that drives the saga, and then does.
func (r *Runner) owned(ctx context.Context, s activities.SagaStep, start holdfast.SagaStart,
	do func() activities.SagaResult) activities.SagaResult {
	found, _, err := barrier.TakeSaga(ctx, r.DB, s.Saga.ID, "", barrier.BegunSaga{SagaStart: start, Content: s.Saga.Content})
	switch {
	case err != nil:
		return excused(ctx, err)
	case found.Holder == "" && found.Version == start.Version:
		out := done(nil)
		out.Ended = found.Last
		return out
	case found.Holder == "":
		if err := barrier.ReopenSaga(ctx, r.DB, s.Saga.ID); err != nil {
			return excused(ctx, err)
		}
	}
	out := do()
	out.Begun = len(found.State) > 0 // by a start: a workflow keeps none
	return out
}

// holds sees to it, in a step's transaction, that its saga is driven by who runs it.
func holds(ctx context.Context, tx *gorm.DB, s activities.SagaStep) (err error) {
	switch {
	case s.Begin != nil:
		_, err = barrier.BeginSaga(ctx, tx, s.Saga.ID,
			barrier.BegunSaga{SagaStart: *s.Begin, Content: s.Saga.Content, Holder: s.Holder})
	case s.Holder != "":
		err = barrier.HoldSaga(ctx, tx, s.Saga.ID, s.Holder)
	}
	return err
}
