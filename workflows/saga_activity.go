package workflows

import (
	"encoding/json"
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// SagaRefused is the type of the application error by which an activity refuses a
// saga's step: its message is the reason.
const SagaRefused = "Refused"

var once = &temporal.RetryPolicy{MaximumAttempts: 1}

// doActivity runs the activity that is a step.
func (s *sagaRun) doActivity(ctx workflow.Context, t *try) core.Outcome {
	p := s.prepare(ctx, t)
	if p.Outcome.Kind != core.OutcomeDone {
		return p.Outcome
	}
	if !t.step.Receives {
		return s.runActivity(ctx, t, t.step.Type, p.Input, nil)
	}
	var result json.RawMessage
	o := s.runActivity(ctx, t, t.step.Type, p.Input, &result)
	if o.Kind != core.OutcomeDone {
		return o
	}
	return s.receive(ctx, t, result)
}

// undoActivity runs the activity that undoes a step.
func (s *sagaRun) undoActivity(ctx workflow.Context, t *try) core.Outcome {
	p := s.prepare(ctx, t)
	if p.Outcome.Kind != core.OutcomeDone {
		return p.Outcome
	}
	return s.runActivity(ctx, t, t.step.UndoType, p.Input, nil)
}

// runActivity runs an activity of the user's, once.
func (s *sagaRun) runActivity(ctx workflow.Context, t *try, name string, data json.RawMessage, result any) core.Outcome {
	if t.stopped && !t.undo {
		return core.Outcome{Kind: core.OutcomeStopped}
	}
	s.detailed, s.changed = true, true
	o := workflow.ActivityOptions{
		TaskQueue:           t.step.TaskQueue,
		StartToCloseTimeout: t.step.TryTimeout(),
		WaitForCancellation: true,
		RetryPolicy:         once,
		Summary:             shorten(s.summary(t)),
	}
	if o.TaskQueue == "" {
		o.TaskQueue = TaskQueue(s.in.Prefix, s.in.Group)
	}
	in := core.ActivityInput{Saga: s.in.ID, Step: t.step.Name, Undo: t.undo, Data: data}
	err := s.activity(ctx, t, name, o, in, result, func() bool { return t.stopped })
	switch {
	case err == nil:
		return core.Outcome{Kind: core.OutcomeDone}
	case hasType(err, SagaRefused) && !t.undo:
		return core.Outcome{Kind: core.OutcomeRefused, Error: clip(rootMessage(err), maxError)}
	case !isFailure(err):
		return failed(holdfast.ClassPermanent, "its result is no JSON: %v", err)
	}
	return failureOf(err)
}

// isFailure reports whether err is an activity's, and not one of reading its result.
func isFailure(err error) bool {
	var failure *temporal.ActivityError
	return errors.As(err, &failure)
}
