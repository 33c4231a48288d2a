package sagas

import (
	"encoding/json"
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// RefusedType is the type of the application error by which an activity refuses a
// saga's step: its message is the reason.
const RefusedType = holdfast.RefusedType

var once = &temporal.RetryPolicy{MaximumAttempts: 1}

// doActivity runs the activity that is a step.
func (s *sagaRun) doActivity(ctx workflow.Context, t *try) core.Outcome {
	p := s.prepare(ctx, t)
	if p.Outcome.Kind != core.OutcomeDone {
		return p.Outcome
	}
	result, o := s.runActivity(ctx, t, t.step.Type, p.Input)
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
	_, o := s.runActivity(ctx, t, t.step.UndoType, p.Input)
	return o
}

// runActivity runs an activity of the user's, once, and returns its result, where
// that is wanted.
func (s *sagaRun) runActivity(ctx workflow.Context, t *try, name string, data json.RawMessage,
) (json.RawMessage, core.Outcome) {
	if t.stopped && !t.undo {
		return nil, core.Outcome{Kind: core.OutcomeStopped, Nothing: true}
	}
	s.detailed, s.changed = true, true
	o := workflow.ActivityOptions{
		TaskQueue:           t.step.TaskQueue,
		StartToCloseTimeout: t.step.TryTimeout(),
		WaitForCancellation: true,
		RetryPolicy:         once,
		Summary:             workflows.Shorten(s.summary(t)),
	}
	if o.TaskQueue == "" {
		o.TaskQueue = workflows.TaskQueue(s.in.Prefix, s.in.Group)
	}
	var (
		result json.RawMessage
		out    any
	)
	if t.step.Receives && !t.undo {
		out = &result
	}
	in := core.ActivityInput{Saga: s.in.ID, Step: t.step.Name, Undo: t.undo, Data: data, Trace: s.in.Trace}
	err := s.activity(ctx, t, name, o, in, out, func() bool { return t.stopped })
	//workflowcheck:ignore it decides by data alone
	valid := len(result) == 0 || json.Valid(result)
	switch {
	case err == nil && len(result) > activities.MaxInput:
		return nil, failed(holdfast.ClassPermanent, "%v: its result has %d bytes of JSON, the limit is %d: answer a "+
			"reference", holdfast.ErrTooLarge, len(result), activities.MaxInput)
	case err == nil && valid:
		return result, core.Outcome{Kind: core.OutcomeDone}
	case err == nil || !isFailure(err):
		return nil, failed(holdfast.ClassPermanent, "its result is no JSON")
	case hasType(err, RefusedType) && !t.undo:
		return nil, core.Outcome{Kind: core.OutcomeRefused, Error: workflows.Clip(workflows.RootMessage(err), maxError)}
	case hasType(err, core.KeyMissingType):
		o := failed(holdfast.ClassError, "%s", workflows.RootMessage(err))
		o.Excused = true
		return nil, o
	}
	return nil, failureOf(err)
}

// isFailure reports whether err is an activity's, and not one of reading its result.
func isFailure(err error) bool {
	var failure *temporal.ActivityError
	var cancelled *temporal.CanceledError
	return errors.As(err, &failure) || errors.As(err, &cancelled)
}
