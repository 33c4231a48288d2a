package compensation_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/compensation"
)

// run executes body as a workflow.
func run(t *testing.T, body func(workflow.Context) error, callbacks ...func(*testsuite.TestWorkflowEnvironment)) error {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterWorkflowWithOptions(body, workflow.RegisterOptions{Name: "body"})
	for _, c := range callbacks {
		c(env)
	}
	env.ExecuteWorkflow("body")
	require.True(t, env.IsWorkflowCompleted())
	return env.GetWorkflowError()
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
	require.ErrorContains(t, err, "second is broken")
	require.ErrorContains(t, err, "third is broken")
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
		err := workflow.Sleep(ctx, time.Hour)
		return errors.Join(err, s.Run(ctx))
	}, func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	})
	require.Error(t, err)
	require.True(t, undone, "a cancelled workflow must still compensate")
}
