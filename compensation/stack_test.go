package compensation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/compensation"
)

// run executes body as a workflow, on a clock that skips waiting.
func run(t *testing.T, body func(workflow.Context) error, prepare ...func(*testsuite.TestWorkflowEnvironment)) error {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterWorkflowWithOptions(body, workflow.RegisterOptions{Name: "body"})
	for _, p := range prepare {
		p(env)
	}
	env.ExecuteWorkflow("body")
	require.True(t, env.IsWorkflowCompleted())
	return env.GetWorkflowError()
}

// note is a compensation that notes that it was run.
func note(order *[]string, name string) func(workflow.Context) error {
	return func(workflow.Context) error {
		*order = append(*order, name)
		return nil
	}
}

func names(r compensation.Report) (out []string) {
	for _, x := range r.Results {
		out = append(out, x.Name)
	}
	return out
}

func TestReverseOrderAndJoinedErrors(t *testing.T) {
	var order []string
	broken := true
	var left []int
	err := run(t, func(ctx workflow.Context) error {
		var s compensation.Stack
		for _, name := range []string{"first", "second", "third"} {
			s.Push(name, func(workflow.Context) error {
				order = append(order, name)
				if broken && name != "first" {
					return errors.New(name + " is broken")
				}
				return nil
			})
		}
		err := s.Run(ctx)
		left = append(left, s.Len())
		broken = false
		if again := s.Run(ctx); again != nil {
			return again
		}
		left = append(left, s.Len())
		return err
	})
	require.ErrorContains(t, err, "compensate: second: second is broken")
	require.ErrorContains(t, err, "compensate: third: third is broken")
	require.Equal(t, []string{"third", "second", "first", "third", "second"}, order)
	require.Equal(t, []int{2, 0}, left)
}

func TestRunsAfterCancellation(t *testing.T) {
	undone := false
	err := run(t, func(ctx workflow.Context) error {
		var s compensation.Stack
		s.Push("sleep and undo", func(ctx workflow.Context) error {
			if err := workflow.Sleep(ctx, time.Minute); err != nil {
				return err
			}
			undone = true
			return nil
		})
		return s.RunAfter(ctx, workflow.Sleep(ctx, time.Hour))
	}, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	})
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	require.True(t, undone, "a cancelled workflow must still compensate")
}

func TestCancelledMeanwhile(t *testing.T) {
	var order []string
	err := run(t, func(ctx workflow.Context) error {
		var s compensation.Stack
		s.Push("first", note(&order, "first"))
		s.Push("slow", func(ctx workflow.Context) error {
			defer func() { order = append(order, "slow") }()
			return workflow.Sleep(ctx, time.Hour)
		})
		return s.RunAfter(ctx, errors.New("no seats"))
	}, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	})
	require.ErrorContains(t, err, "no seats")
	require.NotContains(t, err.Error(), "compensation")
	require.Equal(t, []string{"slow", "first"}, order)
}

func TestParallel(t *testing.T) {
	err := run(t, func(ctx workflow.Context) error {
		s := compensation.Stack{Parallel: true}
		atWork, most := 0, 0
		for i := range 3 {
			s.Push(fmt.Sprint("undo ", i), func(ctx workflow.Context) error {
				atWork++
				most = max(most, atWork)
				defer func() { atWork-- }()
				if err := workflow.Sleep(ctx, time.Duration(3-i)*time.Minute); err != nil {
					return err
				}
				if i == 1 {
					return errors.New("broken")
				}
				return nil
			})
		}
		began := workflow.Now(ctx)
		r := s.RunReport(ctx)
		require.Equal(t, 3, most)
		require.Equal(t, 3*time.Minute, workflow.Now(ctx).Sub(began))
		require.Equal(t, []string{"undo 2", "undo 1", "undo 0"}, names(r))
		require.Equal(t, "undo 2: done\nundo 1: failed: broken\nundo 0: done\n", r.String())
		require.EqualError(t, r.Err(), "compensate: undo 1: broken")
		require.Equal(t, 1, s.Len())
		return nil
	})
	require.NoError(t, err)
}

// booking is a typed argument.
type booking struct {
	ID    string
	Seats int
}

// desk are activities.
type desk struct {
	mu    sync.Mutex
	calls []string
	fails map[string]int // how often an activity fails
	how   func()         // instead of an error
}

func (d *desk) call(what string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, what)
	if d.fails[what] > 0 {
		d.fails[what]--
		if d.how != nil {
			d.how()
		}
		return errors.New(what + " does not answer")
	}
	return nil
}

func (d *desk) CancelHotel(_ context.Context, id string) error { return d.call("hotel " + id) }

func (d *desk) CancelFlight(_ context.Context, b booking) (int, error) {
	return b.Seats, d.call(fmt.Sprint("flight ", b.ID, " ", b.Seats))
}

func (d *desk) Refund(_ context.Context, id string, cents int) error {
	return d.call(fmt.Sprint("refund ", id, " ", cents))
}

func (d *desk) register(env *testsuite.TestWorkflowEnvironment) { env.RegisterActivity(d) }

func TestTypedArguments(t *testing.T) {
	d, of := &desk{}, (*desk)(nil)
	var order []string
	err := run(t, func(ctx workflow.Context) error {
		var s compensation.Stack
		compensation.Add(&s, "hotel", of.CancelHotel, "H-7")
		compensation.AddResult(&s, "flight", of.CancelFlight, booking{"F-9", 2})
		compensation.AddNamed(&s, "refund", "Refund", "P-1", 4200)
		for i := range 2 {
			compensation.AddFunc(&s, "func", func(_ workflow.Context, n int) error {
				order = append(order, fmt.Sprint("func ", n))
				return nil
			}, i)
		}
		return s.Run(ctx)
	}, d.register)
	require.NoError(t, err)
	require.Equal(t, []string{"func 1", "func 0"}, order)
	require.Equal(t, []string{"refund P-1 4200", "flight F-9 2", "hotel H-7"}, d.calls)
}

func TestActivityOptions(t *testing.T) {
	d, of := &desk{fails: map[string]int{"hotel stubborn": 1000, "hotel tired": 1000}}, (*desk)(nil)
	var queues []string
	var timeouts []time.Duration
	err := run(t, func(ctx workflow.Context) error {
		// What the workflow's actions have does not count, but for the task queue.
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{TaskQueue: "hotels", StartToCloseTimeout: time.Second,
			RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}})
		var s compensation.Stack
		compensation.Add(&s, "stubborn", of.CancelHotel, "stubborn")
		require.Error(t, s.Run(ctx))
		require.Len(t, d.calls, 10, "tries")
		s.Activity = workflow.ActivityOptions{TaskQueue: "desk", ScheduleToCloseTimeout: time.Hour, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 2}}
		s.Clear()
		compensation.Add(&s, "tired", of.CancelHotel, "tired")
		require.Error(t, s.Run(ctx))
		require.Len(t, d.calls, 12, "tries")
		return nil
	}, d.register, func(env *testsuite.TestWorkflowEnvironment) {
		env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
			if info.Attempt == 1 {
				queues = append(queues, info.TaskQueue)
				timeouts = append(timeouts, info.StartToCloseTimeout)
			}
		})
	})
	require.NoError(t, err)
	require.Equal(t, []string{"hotels", "desk"}, queues)
	require.Equal(t, time.Minute, timeouts[0])
}

func TestActivityThatPanics(t *testing.T) {
	d, of := &desk{fails: map[string]int{"hotel once": 1, "hotel always": 1000}, how: func() { panic("nil pointer") }}, (*desk)(nil)
	err := run(t, func(ctx workflow.Context) error {
		var s compensation.Stack
		compensation.Add(&s, "once", of.CancelHotel, "once")
		compensation.Add(&s, "always", of.CancelHotel, "always")
		r := s.RunReport(ctx)
		require.ErrorContains(t, r.Err(), "compensate: always: ")
		require.ErrorContains(t, r.Err(), "nil pointer")
		require.Len(t, r.Failed(), 1)
		require.Equal(t, 1, s.Len())
		return nil
	}, d.register)
	require.NoError(t, err)
	require.Equal(t, []string{"hotel once", "hotel once"}, d.calls[len(d.calls)-2:])
}

// TestAnErrorWithoutText: what failed without a word has failed, and is still to be undone.
func TestAnErrorWithoutText(t *testing.T) {
	err := run(t, func(ctx workflow.Context) error {
		var s compensation.Stack
		s.Push("refund", func(workflow.Context) error { return errors.New("") })
		err := s.Run(ctx)
		require.Equal(t, 1, s.Len())
		return err
	})
	require.ErrorContains(t, err, "compensate: refund")
}
