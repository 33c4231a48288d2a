package sagarun

import (
	"context"
	"encoding/json"
	"errors"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga/core"
)

// DoFirst does the local steps that a saga begins with in one transaction with its begin row,
// and commits it: s, and then whatever next says, which is told how each ended. After the last
// one next may say how the saga has completed. did is false, with or without an error, where
// they have to be done one by one, by Do; an error that wraps [barrier.ErrInDoubt] says that they
// may have been done.
func (r *Runner) DoFirst(ctx context.Context, b barrier.BegunSaga, s activities.SagaStep,
	next func(core.Outcome) (more *activities.SagaStep, last json.RawMessage, err error)) (did bool, err error) {
	c, out, not := r.begin(ctx, s)
	if not {
		return false, errors.New(out.Outcome.Error)
	}
	return barrier.DoFirst(ctx, r.DB, s.Saga.ID, b,
		func(ctx context.Context, f *barrier.FirstSteps) (last json.RawMessage, err error) {
			for more := &s; more != nil; {
				out, err := r.doFirst(ctx, c, f, *more)
				if err != nil {
					return nil, err
				}
				if more, last, err = next(out); err != nil {
					return nil, err
				}
			}
			return last, nil
		})
}

func (r *Runner) doFirst(ctx context.Context, c *program, f *barrier.FirstSteps, s activities.SagaStep) (
	o core.Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Step.TryTimeout())
	defer cancel()
	r.traced(ctx, "do", s, func(ctx context.Context, s activities.SagaStep) activities.SagaResult {
		o, err = r.doOneOf(ctx, c, f, s)
		switch reason, no := holdfast.IsRefused(err); {
		case no:
			return refused(reason)
		case err != nil:
			return failed(ctx, err)
		}
		return activities.SagaResult{Outcome: o}
	})
	return o, err
}

func (r *Runner) doOneOf(ctx context.Context, c *program, f *barrier.FirstSteps, s activities.SagaStep) (
	core.Outcome, error) {
	if s.Step.Conditional {
		if yes, err := c.When(ctx, s.Step.Name, s.Data); err != nil || !yes {
			return core.Outcome{Kind: core.OutcomeSkipped}, err
		}
	}
	patch, err := f.Do(ctx, s.Step.Name, given(s), func(ctx context.Context, tx *gorm.DB) ([]byte, error) {
		return r.callDo(ctx, c, tx, s)
	})
	return core.Outcome{Kind: core.OutcomeDone, Patch: patch}, err
}
