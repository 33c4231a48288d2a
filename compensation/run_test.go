package compensation_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/compensation"
)

func TestNested(t *testing.T) {
	var order []string
	broken := errors.New("broken")
	err := run(t, func(ctx workflow.Context) error {
		var s, inner, innermost compensation.Stack
		s.Push("first", note(&order, "first"))
		s.Nest("inner", &inner)
		s.Push("last", note(&order, "last"))
		inner.Push("a", note(&order, "a")) // added after it was nested
		inner.Nest("most", &innermost)
		innermost.Push("b", func(workflow.Context) error { order = append(order, "b"); return broken })
		require.Equal(t, 4, s.Len())

		r := s.RunReport(ctx)
		require.Equal(t, []string{"last", "inner: most: b", "inner: a", "first"}, names(r))
		require.EqualError(t, r.Err(), "compensate: inner: most: b: broken")
		require.ErrorIs(t, r.Err(), broken)
		require.Equal(t, 1, s.Len())

		broken = nil
		inner.Push("later", note(&order, "later"))
		require.Equal(t, []string{"inner: later", "inner: most: b"}, names(s.RunReport(ctx)))
		require.Zero(t, s.Len())
		require.Empty(t, s.RunReport(ctx).Results)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"last", "b", "a", "first", "later", "b"}, order)
}

func TestNestedAfterCancellation(t *testing.T) {
	var order []string
	err := run(t, func(ctx workflow.Context) error {
		inner := &compensation.Stack{Parallel: true}
		var s compensation.Stack
		s.Nest("inner", inner)
		for _, name := range []string{"a", "b"} {
			inner.Push(name, func(ctx workflow.Context) error {
				order = append(order, name)
				return workflow.Sleep(ctx, time.Minute)
			})
		}
		return s.RunAfter(ctx, workflow.Sleep(ctx, time.Hour))
	}, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	})
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	require.Equal(t, []string{"b", "a"}, order)
}

func TestClear(t *testing.T) {
	var order []string
	err := run(t, func(ctx workflow.Context) error {
		var s, inner compensation.Stack
		s.Push("first", note(&order, "first"))
		s.Nest("inner", &inner)
		inner.Push("a", note(&order, "a"))
		s.Clear()
		require.Zero(t, s.Len())
		require.Zero(t, inner.Len())
		return errors.Join(s.Run(ctx), inner.Run(ctx))
	})
	require.NoError(t, err)
	require.Empty(t, order)
}

func TestAddedMeanwhileIsLeftForTheNextRun(t *testing.T) {
	var order []string
	err := run(t, func(ctx workflow.Context) error {
		var s compensation.Stack
		s.Push("first", func(workflow.Context) error {
			s.Push("late", note(&order, "late"))
			return errors.New("broken")
		})
		require.Error(t, s.Run(ctx))
		require.Empty(t, order)
		require.Equal(t, 2, s.Len())
		require.Equal(t, []string{"late", "first"}, names(s.RunReport(ctx)))
		return nil
	})
	require.NoError(t, err)
}

func TestTwoRunsAtOnce(t *testing.T) {
	var order []string
	err := run(t, func(ctx workflow.Context) error {
		var s compensation.Stack
		s.Push("first", note(&order, "first"))
		s.Push("slow", func(ctx workflow.Context) error {
			order = append(order, "slow")
			return workflow.Sleep(ctx, time.Minute)
		})
		wg := workflow.NewWaitGroup(ctx)
		for range 2 {
			wg.Go(ctx, func(ctx workflow.Context) {
				require.NoError(t, s.Run(ctx))
				require.Zero(t, s.Len(), "Run returned before everything was undone")
			})
		}
		wg.Wait(ctx)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"slow", "first"}, order)
}

func TestAStackThatRunsItself(t *testing.T) {
	err := run(t, func(ctx workflow.Context) error {
		s := compensation.Stack{Parallel: true}
		var inner compensation.Stack
		s.Nest("inner", &inner)
		inner.Push("all", s.Run)
		return s.Run(ctx)
	})
	require.ErrorContains(t, err, "compensate: inner: all: compensate: the stack: one of its compensations runs the stack")
}

func TestWhatCannotBeAdded(t *testing.T) {
	var s, inner compensation.Stack
	s.Nest("inner", &inner)
	for want, add := range map[string]func(){
		"compensation: x: no function: give Push one":                      func() { s.Push("x", nil) },
		"compensation: x: no activity: give Add one":                       func() { compensation.Add(&s, "x", nil, 1) },
		"compensation: x: no activity: give AddResult one":                 func() { compensation.AddResult[int, int](&s, "x", nil, 1) },
		"compensation: x: no activity: give AddNamed the name of its type": func() { compensation.AddNamed(&s, "x", "") },
		"compensation: x: no function: give AddFunc one":                   func() { compensation.AddFunc(&s, "x", nil, 1) },
		"compensation: x: no stack: give Nest one":                         func() { s.Nest("x", nil) },
		"compensation: x: a stack cannot hold itself":                      func() { inner.Nest("x", &s) },
	} {
		require.PanicsWithValue(t, want, add)
	}
}

func TestRunAfter(t *testing.T) {
	seats := temporal.NewApplicationError("no seats", "NoSeats")
	for name, c := range map[string]struct {
		cause  error
		broken bool
		undone bool
		left   int
		check  func(*testing.T, error)
	}{
		"success": {check: func(t *testing.T, err error) { require.NoError(t, err) }},
		"undone":  {cause: seats, undone: true, check: func(t *testing.T, err error) { require.Same(t, seats, err) }},
		"renewed": {cause: &workflow.ContinueAsNewError{}, left: 1, check: func(t *testing.T, err error) {
			var renewed *workflow.ContinueAsNewError
			require.ErrorAs(t, err, &renewed)
		}},
		"broken": {cause: seats, broken: true, undone: true, left: 1, check: func(t *testing.T, err error) {
			require.ErrorIs(t, err, seats)
			require.False(t, wrapsCancellation(err), "the workflow would be listed as canceled")
			require.ErrorContains(t, err, "1 of 1 compensations failed; undo: broken: canceled")
		}},
		"cancelled and broken": {cause: errors.Join(temporal.NewCanceledError()), broken: true, undone: true, left: 1, check: func(t *testing.T, err error) {
			require.False(t, wrapsCancellation(err), "the workflow would be listed as canceled")
			require.ErrorContains(t, err, "undo: broken: canceled; after: canceled")
			var failed *temporal.ApplicationError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, compensation.FailedType, failed.Type())
			require.True(t, failed.NonRetryable())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var undone bool
			err := run(t, func(ctx workflow.Context) error {
				var s compensation.Stack
				s.Push("undo", func(workflow.Context) error {
					undone = true
					if c.broken {
						return fmt.Errorf("broken: %w", temporal.NewCanceledError()) // a cancelled child workflow, say
					}
					return nil
				})
				c.check(t, s.RunAfter(ctx, c.cause))
				require.Equal(t, c.left, s.Len())
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, c.undone, undone)
		})
	}
}

// wrapsCancellation is how the SDK decides that a workflow ends as canceled.
func wrapsCancellation(err error) bool {
	var canceled *temporal.CanceledError
	return errors.As(err, &canceled)
}
