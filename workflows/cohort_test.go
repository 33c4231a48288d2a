package workflows_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// own are the inputs of the workflows into which members left.
type own struct {
	mu      sync.Mutex
	started map[string]workflows.Input // by transaction
}

func (o *own) start(_ workflow.Context, in workflows.Input) (workflows.Status, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.started[in.Transactions[0].ID] = in
	return workflows.Status{}, nil
}

// withOwn runs the cohort's workflow itself, and notes what it starts.
func withOwn(t *testing.T, w *world) (*testsuite.TestWorkflowEnvironment, *own) {
	t.Helper()
	o := &own{started: map[string]workflows.Input{}}
	env := setup(t, w)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context, in workflows.Input) (workflows.Status, error) {
		return workflows.Transaction(ctx, in)
	}, workflow.RegisterOptions{Name: "Cohort"})
	env.OnWorkflow(workflows.Name, mock.Anything, mock.Anything).Return(o.start).Maybe()
	return env, o
}

func cohort(txs ...activities.Tx) workflows.Input {
	in := input(txs...)
	in.Cohort = true
	return in
}

func endedCohort(t *testing.T, env *testsuite.TestWorkflowEnvironment, in workflows.Input) []workflows.MemberStatus {
	t.Helper()
	env.ExecuteWorkflow("Cohort", in)
	require.True(t, env.IsWorkflowCompleted())
	require.NoError(t, env.GetWorkflowError())
	var s workflows.Status
	require.NoError(t, env.GetWorkflowResult(&s))
	return s.Transactions
}

func TestCohortMembersLeave(t *testing.T) {
	w := &world{
		halfErr: func(id string) error {
			if id == "unstored" {
				return errors.New("no confirm")
			}
			return nil
		},
		publishErr: func(id string, _ int) error {
			if id == "unrouted" {
				return holdfast.ErrUnroutable
			}
			return nil
		},
		local: func(tx activities.Tx, _ bool) activities.LocalResult {
			switch tx.ID {
			case "back":
				return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback, Error: "out of stock"}
			case "unknown":
				return activities.LocalResult{ID: tx.ID, Error: "connection lost"}
			}
			return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
		},
	}
	env, own := withOwn(t, w)
	var txs []activities.Tx
	for _, id := range []string{"good", "unstored", "back", "unknown", "unrouted"} {
		txs = append(txs, tx(id, activities.Inline))
	}
	got := endedCohort(t, env, cohort(txs...))
	want := []workflows.State{workflows.Committed, workflows.Left, workflows.RolledBack, workflows.Left, workflows.Left}
	for i, m := range got {
		require.Equal(t, want[i], m.State, m.ID)
	}
	require.Len(t, own.started, 3)
	for _, in := range own.started {
		require.False(t, in.Cohort)
		require.Len(t, in.Transactions, 1)
		require.Len(t, in.Carried, 1)
		require.Equal(t, in.Transactions[0].ID, in.Carried[0].ID)
	}
	require.Equal(t, "no confirm", own.started["unstored"].Carried[0].Refusal)
	require.Equal(t, holdfast.Unknown, own.started["unknown"].Carried[0].Resolution)
	require.Equal(t, holdfast.Commit, own.started["unrouted"].Carried[0].Resolution)
	require.Contains(t, got[1].Reason, "goes on in workflow tx/orders/unstored: undecided: no confirm")
	require.Contains(t, got[4].Reason, "tx/orders/unrouted: committed, and could not be delivered at once")
}
