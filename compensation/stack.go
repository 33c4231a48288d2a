package compensation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Stack collects the compensations of one workflow. The zero value is an empty
// stack. Like all of a workflow's state, it belongs to that workflow's coroutines.
type Stack struct {
	// Activity are the options of the activities that are put on it. A field that
	// is zero has its default: StartToCloseTimeout 1 m, unless ScheduleToCloseTimeout
	// is set; RetryPolicy 10 tries with pauses from 1 s to 1 m; Summary the
	// compensation's name; TaskQueue that of the context that Run gets, of whose
	// activity options nothing else counts.
	Activity workflow.ActivityOptions
	// Parallel has Run undo everything at once, instead of one after the other in
	// reverse order.
	Parallel bool

	items   []*item
	running bool
}

// item is a compensation, or a stack in the stack.
type item struct {
	name  string
	undo  func(workflow.Context) error
	inner *Stack
	done  bool
}

// Push adds undo on top. The name is what reports and errors call it. Retries
// belong to what undo calls.
func (s *Stack) Push(name string, undo func(workflow.Context) error) {
	require(undo != nil, name, "no function: give Push one")
	s.items = append(s.items, &item{name: name, undo: undo})
}

// Add adds an activity, to be run with arg. What arg points at is read when Run is
// called.
func Add[A any](s *Stack, name string, activity func(context.Context, A) error, arg A) {
	require(activity != nil, name, "no activity: give Add one")
	s.activity(name, activity, arg)
}

// AddResult is [Add] for an activity that returns a value, which is dropped.
func AddResult[A, R any](s *Stack, name string, activity func(context.Context, A) (R, error), arg A) {
	require(activity != nil, name, "no activity: give AddResult one")
	s.activity(name, activity, arg)
}

// AddNamed adds an activity by its type's name: one in another language, or with
// another number of arguments.
func AddNamed(s *Stack, name, activityType string, args ...any) {
	require(activityType != "", name, "no activity: give AddNamed the name of its type")
	s.activity(name, activityType, args...)
}

// AddFunc adds a function of the workflow, to be called with arg.
func AddFunc[A any](s *Stack, name string, undo func(workflow.Context, A) error, arg A) {
	require(undo != nil, name, "no function: give AddFunc one")
	s.Push(name, func(ctx workflow.Context) error { return undo(ctx, arg) })
}

// Nest adds inner as one compensation: whatever is on inner when it is inner's
// turn. It is undone by inner's own options.
func (s *Stack) Nest(name string, inner *Stack) {
	require(inner != nil, name, "no stack: give Nest one")
	require(!inner.holds(s), name, "a stack cannot hold itself")
	s.items = append(s.items, &item{name: name, inner: inner})
}

// activity adds an activity; its options are those of the moment it runs.
func (s *Stack) activity(name string, activity any, args ...any) {
	s.Push(name, func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, withDefaults(s.Activity, name))
		return workflow.ExecuteActivity(ctx, activity, args...).Get(ctx, nil)
	})
}

// Len returns how many compensations have not been run, or have failed.
func (s *Stack) Len() int {
	n := 0
	for _, it := range s.items {
		switch {
		case it.inner != nil:
			n += it.inner.Len()
		case !it.done:
			n++
		}
	}
	return n
}

// Clear forgets all compensations: what was done is to stay.
func (s *Stack) Clear() {
	for _, it := range s.items {
		if it.inner != nil {
			it.inner.Clear()
		}
	}
	s.items = nil
}

// holds reports whether other is s, or in it.
func (s *Stack) holds(other *Stack) bool {
	return s == other || slices.ContainsFunc(s.items,
		func(it *item) bool { return it.inner != nil && it.inner.holds(other) })
}

// Defaults of compensating activities.
const (
	defaultTimeout  = time.Minute
	defaultAttempts = 10
	defaultFirst    = time.Second
	defaultMax      = time.Minute
)

func withDefaults(o workflow.ActivityOptions, name string) workflow.ActivityOptions {
	if o.StartToCloseTimeout == 0 && o.ScheduleToCloseTimeout == 0 {
		o.StartToCloseTimeout = defaultTimeout
	}
	if o.RetryPolicy == nil {
		o.RetryPolicy = &temporal.RetryPolicy{InitialInterval: defaultFirst,
			BackoffCoefficient: 2, MaximumInterval: defaultMax, MaximumAttempts: defaultAttempts}
	}
	if o.Summary == "" {
		o.Summary = name
	}
	return o
}

// require panics, which holds the workflow where it is, before the action that
// could not be undone.
func require(ok bool, name, problem string) {
	if !ok {
		panic(fmt.Sprintf("compensation: %s: %s", name, problem))
	}
}
