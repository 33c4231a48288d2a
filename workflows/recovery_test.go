package workflows_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// recovering is an environment whose workflows Transaction are noted only.
func recovering(t *testing.T, w *world) (*testsuite.TestWorkflowEnvironment, *own) {
	t.Helper()
	o := &own{started: map[string]workflows.Input{}}
	env := setup(t, w)
	env.RegisterWorkflowWithOptions(workflows.Recovery, workflow.RegisterOptions{Name: workflows.RecoveryName})
	env.OnWorkflow(workflows.Name, mock.Anything, mock.Anything).Return(o.start).Maybe()
	return env, o
}

func recovered(t *testing.T, env *testsuite.TestWorkflowEnvironment, txs ...activities.Tx) workflows.Status {
	t.Helper()
	env.ExecuteWorkflow(workflows.RecoveryName, input(txs...))
	require.True(t, env.IsWorkflowCompleted())
	require.NoError(t, env.GetWorkflowError())
	var s workflows.Status
	require.NoError(t, env.GetWorkflowResult(&s))
	return s
}

func TestRecoveryDecidesEachAndTheRestLeaves(t *testing.T) {
	w := &world{
		check: func(tx activities.Tx, _ int) activities.LocalResult {
			r := activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
			switch tx.ID {
			case "changed":
				r.Messages = []holdfast.Message{{ID: tx.ID, Topic: "order.placed", Body: []byte("changed")}}
			case "back":
				r.Resolution = holdfast.Rollback
			case "locked":
				r.Resolution, r.Error = holdfast.Unknown, "the local transaction is still open"
			}
			return r
		},
		publishErr: func(id string, _ int) error {
			if id == "unrouted" {
				return fmt.Errorf("%w: order.placed", holdfast.ErrUnroutable)
			}
			return nil
		},
	}
	env, own := recovering(t, w)
	var txs []activities.Tx
	for _, id := range []string{"good", "changed", "back", "locked", "unrouted"} {
		txs = append(txs, tx(id, activities.HandedOver))
	}
	env.RegisterDelayedCallback(env.CancelWorkflow, 0) // which changes nothing
	s := recovered(t, env, txs...)
	require.Equal(t, "5 transactions: 2 committed, 1 rolled-back, 2 left", s.Summary)
	for i, want := range []workflows.State{workflows.Committed, workflows.Committed, workflows.RolledBack, workflows.Left, workflows.Left} {
		require.Equal(t, want, s.Transactions[i].State, txs[i].ID)
	}
	require.Contains(t, s.Transactions[3].Reason, "goes on in workflow tx/orders/locked: undecided: the local transaction is still open")
	require.Empty(t, w.halves)
	require.Empty(t, w.ran)
	require.Equal(t, map[string]holdfast.Resolution{"good": holdfast.Commit, "changed": holdfast.Commit, "back": holdfast.Rollback}, w.settled)
	var bodies []string
	for _, m := range w.delivered {
		bodies = append(bodies, string(m.Body))
	}
	slices.Sort(bodies)
	require.Equal(t, []string{"changed", `{"n":1}`}, bodies)

	require.Len(t, own.started, 2)
	locked, unrouted := own.started["locked"], own.started["unrouted"]
	for _, in := range []workflows.Input{locked, unrouted} {
		require.False(t, in.Cohort)
		require.Len(t, in.Carried, 1)
		require.False(t, in.Carried[0].Cancelled)
		require.True(t, in.Carried[0].AtOnce)
		require.Zero(t, in.Carried[0].Checks)
	}
	require.Equal(t, holdfast.Unknown, locked.Carried[0].Resolution)
	require.Equal(t, holdfast.Commit, unrouted.Carried[0].Resolution)
}

// TestRecoveryWithoutAnAnswer: everything leaves, whatever the reason.
func TestRecoveryWithoutAnAnswer(t *testing.T) {
	for name, answer := range map[string]any{
		"an error":         temporal.NewNonRetryableApplicationError("it burnt", "Burnt", nil),
		"an answer short":  []activities.LocalResult{{ID: "a", Resolution: holdfast.Commit}},
		"no time any more": temporal.NewTimeoutError(1, nil),
	} {
		t.Run(name, func(t *testing.T) {
			env, own := recovering(t, &world{})
			if err, ok := answer.(error); ok {
				env.OnActivity(activities.CheckBackAll, mock.Anything, mock.Anything).Return(nil, err)
			} else {
				env.OnActivity(activities.CheckBackAll, mock.Anything, mock.Anything).Return(answer, nil)
			}
			s := recovered(t, env, tx("a", activities.HandedOver), tx("b", activities.HandedOver))
			require.Equal(t, "2 transactions: 2 left", s.Summary)
			require.Len(t, own.started, 2)
			require.Contains(t, s.Transactions[1].Reason, "the check-back of its sweep: ")
		})
	}
}

func TestRecoveryRefusesWhatIsNotHandedOver(t *testing.T) {
	env, _ := recovering(t, &world{})
	env.ExecuteWorkflow(workflows.RecoveryName, input(tx("a", activities.Inline)))
	var failure *temporal.ApplicationError
	require.True(t, errors.As(env.GetWorkflowError(), &failure))
	require.Equal(t, workflows.InvalidInput, failure.Type())
}

func TestRecoveriesAreBounded(t *testing.T) {
	var txs []activities.Tx
	for i := range 450 {
		txs = append(txs, tx(fmt.Sprintf("t-%03d", i), activities.HandedOver))
	}
	got := workflows.Recoveries(txs)
	require.Len(t, got, 3)
	require.Len(t, got[0], workflows.MaxRecovery)
	require.Equal(t, txs, slices.Concat(got...))
	require.Empty(t, workflows.Recoveries(nil))

	for _, i := range []int{1, 2, 3} {
		txs[i].Messages[0].Body = make([]byte, 200<<10)
	}
	txs[4].Messages[0].Body = make([]byte, 1<<20)
	got = workflows.Recoveries(txs[:6])
	var sizes []int
	for _, one := range got {
		sizes = append(sizes, len(one))
	}
	require.Equal(t, []int{2, 1, 1, 1, 1}, sizes, "200 KiB are 267 in JSON")
	require.Equal(t, txs[:6], slices.Concat(got...))
}

func TestRecoveryStartOptionsAreReadable(t *testing.T) {
	var txs []activities.Tx
	for i := range 200 {
		txs = append(txs, tx(fmt.Sprintf("%036d", i), activities.HandedOver))
	}
	o := workflows.RecoveryStartOptions("holdfast", "orders", workflows.RecoveryWorkflowID("orders", "7"), txs)
	require.Equal(t, "recovery/orders/7", o.ID)
	require.Equal(t, "holdfast.orders", o.TaskQueue)
	require.Equal(t, "recovery of 200 half messages of group orders: order.placed", o.StaticSummary)
	for _, want := range []string{"`orders`", "200 half messages", "tx/orders/"} {
		require.Contains(t, o.StaticDetails, want)
	}
	require.Less(t, len(strings.Join(o.TypedSearchAttributes.GetUntypedValues()[temporal.NewSearchAttributeKeyKeywordList(workflows.AttributeKey)].([]string), "")), 2000)
	o = workflows.RecoveryStartOptions("holdfast", "orders", "x", txs[:1])
	require.Equal(t, "recovery of 1 half message of group orders: order.placed", o.StaticSummary)
}

func TestRecoveryOfMany(t *testing.T) {
	w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Resolution(n % 3)}
	}}
	env, own := recovering(t, w)
	env.SetTestTimeout(time.Minute)
	var txs []activities.Tx
	for i := range workflows.MaxRecovery {
		txs = append(txs, tx(fmt.Sprintf("t-%03d", i), activities.HandedOver))
	}
	s := recovered(t, env, txs...)
	require.Equal(t, "200 transactions: 67 committed, 67 rolled-back, 66 left", s.Summary)
	require.Len(t, own.started, 66)
}
