// Package compensation undoes, inside a Temporal workflow, what was done before
// a failure: a last-in-first-out stack of compensations, usable in any workflow.
//
//	var undo compensation.Stack
//	undo.Push("cancel the order", func(ctx workflow.Context) error {
//		return workflow.ExecuteActivity(ctx, CancelOrder, id).Get(ctx, nil)
//	})
//	if err := workflow.ExecuteActivity(ctx, CreateOrder, id).Get(ctx, nil); err != nil {
//		return errors.Join(err, undo.Run(ctx))
//	}
//
// Push before the action, not after: an action whose result was lost may have
// happened, and its compensation must be able to find nothing to undo.
package compensation

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"
)

// Stack collects the compensations of one workflow. The zero value is an empty
// stack. Like all of a workflow's state, it belongs to that workflow's coroutines.
type Stack struct {
	steps []step
}

type step struct {
	name string
	undo func(workflow.Context) error
}

// Push adds undo on top. The name is what an error calls it.
func (s *Stack) Push(name string, undo func(workflow.Context) error) {
	s.steps = append(s.steps, step{name, undo})
}

// Len returns how many compensations have not been run, or have failed.
func (s *Stack) Len() int { return len(s.steps) }

// Run undoes everything in reverse order, on a context that a cancellation of
// ctx does not reach. One that fails does not keep the others from running; it
// stays on the stack, so that Run can be called again, and its error is joined
// into what Run returns. Retries belong to the activity that undo calls.
func (s *Stack) Run(ctx workflow.Context) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	var errs []error
	var failed []step
	for i := len(s.steps) - 1; i >= 0; i-- {
		if err := s.steps[i].undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("compensate: %s: %w", s.steps[i].name, err))
			failed = append([]step{s.steps[i]}, failed...)
		}
	}
	s.steps = failed
	return errors.Join(errs...)
}
