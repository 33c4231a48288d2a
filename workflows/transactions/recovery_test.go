package transactions_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/transactions"

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
	o := &own{started: map[string]transactions.Input{}}
	env := setup(t, w)
	env.RegisterWorkflowWithOptions(transactions.Recovery, workflow.RegisterOptions{Name: transactions.RecoveryName})
	env.OnWorkflow(transactions.Name, mock.Anything, mock.Anything).Return(o.start).Maybe()
	return env, o
}

func recovered(t *testing.T, env *testsuite.TestWorkflowEnvironment, txs ...activities.Tx) transactions.Status {
	t.Helper()
	env.ExecuteWorkflow(transactions.RecoveryName, input(txs...))
	require.True(t, env.IsWorkflowCompleted())
	require.NoError(t, env.GetWorkflowError())
	var s transactions.Status
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
	for _, in := range []transactions.Input{locked, unrouted} {
		require.False(t, in.Cohort)
		require.Len(t, in.Carried, 1)
		require.False(t, in.Carried[0].Cancelled)
		require.True(t, in.Carried[0].AtOnce)
		require.Zero(t, in.Carried[0].Checks)
	}
	require.Equal(t, holdfast.Unknown, locked.Carried[0].Resolution)
	require.Equal(t, holdfast.Commit, unrouted.Carried[0].Resolution)
}

// TestRecoveryWithoutAnAnswer: they wait together, as the schedule says; then
// everything leaves, whatever the reason.
func TestRecoveryWithoutAnAnswer(t *testing.T) {
	away := activities.LocalResult{Unreached: true, Error: "PostgreSQL is away"}
	for name, answer := range map[string]any{
		"an error":         temporal.NewNonRetryableApplicationError("it burnt", "Burnt", nil),
		"an answer short":  []activities.LocalResult{{ID: "a", Resolution: holdfast.Commit}},
		"no time any more": temporal.NewTimeoutError(1, nil),
		"nobody reached":   []activities.LocalResult{away, away},
	} {
		t.Run(name, func(t *testing.T) {
			env, own := recovering(t, &world{})
			asked := 0
			env.OnActivity(activities.CheckBackAll, mock.Anything, mock.Anything).Return(func(context.Context, activities.StepInput) ([]activities.LocalResult, error) {
				asked++
				if err, ok := answer.(error); ok {
					return nil, err
				}
				return answer.([]activities.LocalResult), nil
			})
			begun := env.Now()
			s := recovered(t, env, tx("a", activities.HandedOver), tx("b", activities.HandedOver))
			require.Equal(t, "2 transactions: 2 left", s.Summary)
			require.Len(t, own.started, 2)
			require.Equal(t, 5, asked)
			require.Equal(t, 10*time.Second+30*time.Second+time.Minute+2*time.Minute, env.Now().Sub(begun).Round(time.Second))
			require.Regexp(t, "the check-back of many: |PostgreSQL is away", s.Transactions[1].Reason)
			require.True(t, own.started["a"].Carried[0].AtOnce)
			require.Zero(t, own.started["a"].Carried[0].Unreached)
		})
	}
}

// TestRecoveryWaitsTogether: the database is away for a while; nobody needs a
// workflow of its own, and whoever looks meanwhile is told.
func TestRecoveryWaitsTogether(t *testing.T) {
	w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
		switch {
		case n <= 4: // two of two
			return activities.LocalResult{ID: tx.ID, Unreached: true, Error: "PostgreSQL is away"}
		case tx.ID == "a":
			return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
		}
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback}
	}}
	env, own := recovering(t, w)
	refused := update(env, time.Second, transactions.UpdateRollback, transactions.Request{Tx: "a", Operator: "ann", Reason: "looked"})
	again := update(env, time.Second, transactions.UpdateRecheck, transactions.Request{Tx: "a", Operator: "ann", Reason: "looked"})
	env.RegisterDelayedCallback(env.CancelWorkflow, 2*time.Second) // which changes nothing
	var states []string
	env.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(args mock.Arguments) {
		state, _ := args.Get(0).(temporal.SearchAttributes).GetKeyword(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState))
		states = append(states, state)
	}).Return(nil)
	env.RegisterDelayedCallback(func() {
		v, err := env.QueryWorkflow(workflows.QueryStatus)
		require.NoError(t, err)
		var s transactions.Status
		require.NoError(t, v.Get(&s))
		require.Equal(t, "2 transactions: 2 checking", s.Summary)
		require.Equal(t, "PostgreSQL is away", s.Transactions[0].Reason)
	}, 3*time.Second)
	begun := env.Now()
	s := recovered(t, env, tx("a", activities.HandedOver), tx("b", activities.HandedOver))
	require.Equal(t, 40*time.Second, env.Now().Sub(begun).Round(time.Second))
	require.Equal(t, "2 transactions: 1 committed, 1 rolled-back", s.Summary)
	require.Empty(t, own.started)
	require.Equal(t, []string{"checking", "rolled-back"}, states)
	for _, r := range []*updateResult{refused, again} {
		require.ErrorContains(t, r.rejected, "is checking in a recovery")
		require.ErrorContains(t, r.rejected, "then send this to tx/orders/a")
	}
}

// TestRecoveryWithSomeAnswers: what somebody answered "unknown" does not wait.
func TestRecoveryWithSomeAnswers(t *testing.T) {
	w := &world{check: func(tx activities.Tx, _ int) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Unreached: tx.ID != "locked", Error: "no"}
	}}
	env, own := recovering(t, w)
	begun := env.Now()
	recovered(t, env, tx("a", activities.HandedOver), tx("locked", activities.HandedOver))
	require.Equal(t, begun, env.Now())
	require.Len(t, own.started, 2)
}

func TestRecoveryRefusesWhatIsNotHandedOver(t *testing.T) {
	env, _ := recovering(t, &world{})
	env.ExecuteWorkflow(transactions.RecoveryName, input(tx("a", activities.Inline)))
	var failure *temporal.ApplicationError
	require.True(t, errors.As(env.GetWorkflowError(), &failure))
	require.Equal(t, workflows.InvalidInput, failure.Type())
}

func TestRecoveriesAreBounded(t *testing.T) {
	var txs []activities.Tx
	for i := range 450 {
		txs = append(txs, tx(fmt.Sprintf("t-%03d", i), activities.HandedOver))
	}
	got := transactions.Recoveries(txs)
	require.Len(t, got, 3)
	require.Len(t, got[0], 200)
	require.Equal(t, txs, slices.Concat(got...))
	require.Empty(t, transactions.Recoveries(nil))

	for _, i := range []int{1, 2, 3} {
		txs[i].Messages[0].Body = make([]byte, 200<<10)
	}
	txs[4].Messages[0].Body = make([]byte, 1<<20)
	got = transactions.Recoveries(txs[:6])
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
	in := transactions.Input{Prefix: "holdfast", Group: "orders", Transactions: txs}
	o := transactions.RecoveryStartOptions(workflows.RecoveryWorkflowID("", "orders", "7"), in)
	require.Equal(t, "recovery/orders/7", o.ID)
	require.Equal(t, "holdfast.orders", o.TaskQueue)
	require.Equal(t, "recovery of 200 half messages of group orders: order.placed", o.StaticSummary)
	for _, want := range []string{"`orders`", "200 half messages", "tx/orders/"} {
		require.Contains(t, o.StaticDetails, want)
	}
	require.Less(t, len(strings.Join(o.TypedSearchAttributes.GetUntypedValues()[temporal.NewSearchAttributeKeyKeywordList(workflows.AttributeKey)].([]string), "")), 2000)
	in.Transactions = txs[:1]
	o = transactions.RecoveryStartOptions("x", in)
	require.Equal(t, "recovery of 1 half message of group orders: order.placed", o.StaticSummary)
}

func TestRecoveryOfMany(t *testing.T) {
	w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Resolution(n % 3)}
	}}
	env, own := recovering(t, w)
	env.SetTestTimeout(time.Minute)
	var txs []activities.Tx
	for i := range 200 {
		txs = append(txs, tx(fmt.Sprintf("t-%03d", i), activities.HandedOver))
	}
	s := recovered(t, env, txs...)
	require.Equal(t, "200 transactions: 67 committed, 67 rolled-back, 66 left", s.Summary)
	require.Len(t, own.started, 66)
}
