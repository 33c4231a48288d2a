package compensation

import (
	"errors"
	"slices"

	"go.temporal.io/sdk/workflow"
)

// Run undoes everything in reverse order, or at once if Parallel is set, on a
// context that a cancellation of ctx does not reach. One that fails does not keep
// the others from running; it stays on the stack, so that Run can be called again,
// and its error is joined into what Run returns.
func (s *Stack) Run(ctx workflow.Context) error { return s.RunReport(ctx).Err() }

// RunReport is [Stack.Run] with a report of each compensation. What is added
// meanwhile is left for the next call, and so is a call in another coroutine,
// which waits for its turn.
func (s *Stack) RunReport(ctx workflow.Context) Report {
	for outer := running(ctx); outer != nil; outer = outer.in {
		if outer.stack == s {
			return Report{Results: []Result{failed("the stack", errSelf)}}
		}
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	_ = workflow.Await(ctx, func() bool { return !s.running }) // nothing cancels ctx
	s.running = true
	defer func() { s.running = false }()

	ctx = workflow.WithValue(ctx, runKey{}, &run{s, running(ctx)})
	todo := slices.Clone(s.items)
	slices.Reverse(todo)
	reports := make([]Report, len(todo))
	wg := workflow.NewWaitGroup(ctx)
	for i, it := range todo {
		if s.Parallel {
			wg.Go(ctx, func(ctx workflow.Context) { reports[i] = it.run(ctx) })
		} else {
			reports[i] = it.run(ctx)
		}
	}
	wg.Wait(ctx)

	s.items = slices.DeleteFunc(s.items, func(it *item) bool { return it.done })
	var r Report
	for _, x := range reports {
		r.Results = append(r.Results, x.Results...)
	}
	return r
}

// RunAfter ends a workflow, or a part of one. If cause is nil, nothing is to be
// undone: it clears the stack and returns nil. A [workflow.ContinueAsNewError] it
// returns as it is, without undoing: stacks are not carried over. Otherwise it runs
// the stack, and returns cause as it is if everything was undone, so that a
// cancelled workflow ends as canceled. What could not be undone makes it an error
// of the type [FailedType].
//
// It may be deferred, with the workflow's named error, as in the package's example,
// if that is set by returning only: deferred functions are also called when a worker
// drops a workflow that waits from its memory, and must then find nil.
func (s *Stack) RunAfter(ctx workflow.Context, cause error) error {
	var renewed *workflow.ContinueAsNewError
	switch {
	case cause == nil:
		s.Clear()
		return nil
	case errors.As(cause, &renewed):
		return cause
	}
	r := s.RunReport(ctx)
	if r.Err() == nil {
		return cause
	}
	return r.failure(cause)
}

func (it *item) run(ctx workflow.Context) Report {
	if it.inner != nil {
		return it.inner.RunReport(ctx).within(it.name) // it stays, for what is added to it later
	}
	if err := it.undo(ctx); err != nil {
		return Report{Results: []Result{failed(it.name, err)}}
	}
	it.done = true
	return Report{Results: []Result{{Name: it.name}}}
}

// run is a stack that is being run, in another one's run.
type run struct {
	stack *Stack
	in    *run
}

type runKey struct{}

func running(ctx workflow.Context) *run {
	r, _ := ctx.Value(runKey{}).(*run)
	return r
}

var errSelf = errors.New("one of its compensations runs the stack that it is on, which would wait for itself: " +
	"give it a stack of its own")
