package transactions_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/transactions"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// own are the inputs of the workflows into which members left.
type own struct {
	mu      sync.Mutex
	started map[string]transactions.Input // by transaction
}

func (o *own) start(_ workflow.Context, in transactions.Input) (transactions.Status, error) {
	o.mu.Lock()
	o.started[in.Transactions[0].ID] = in
	o.mu.Unlock()
	return transactions.Status{}, nil
}

// withOwn runs the cohort's workflow itself, and notes what it starts.
func withOwn(t *testing.T, w *world) (*testsuite.TestWorkflowEnvironment, *own) {
	t.Helper()
	o := &own{started: map[string]transactions.Input{}}
	env := setup(t, w)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context, in transactions.Input) (transactions.Status, error) {
		return transactions.Transaction(ctx, in)
	}, workflow.RegisterOptions{Name: "Cohort"})
	env.OnWorkflow(transactions.Name, mock.Anything, mock.Anything).Return(o.start).Maybe()
	return env, o
}

func cohort(txs ...activities.Tx) transactions.Input {
	in := input(txs...)
	in.Cohort = true
	return in
}

func endedCohort(t *testing.T, env *testsuite.TestWorkflowEnvironment, in transactions.Input) []transactions.MemberStatus {
	t.Helper()
	env.ExecuteWorkflow("Cohort", in)
	require.True(t, env.IsWorkflowCompleted())
	require.NoError(t, env.GetWorkflowError())
	var s transactions.Status
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
	memos := childMemos(env)
	var txs []activities.Tx
	for _, id := range []string{"good", "unstored", "back", "unknown", "unrouted"} {
		txs = append(txs, tx(id, activities.Inline))
	}
	second := txs[4].Messages[0]
	second.Topic = "order.paid"
	txs[4].Messages = append(txs[4].Messages, second)
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
	require.Equal(t, map[string]any{transactions.MemoTopics: []string{"order.placed", "order.paid"}}, memos["tx/orders/unrouted"],
		"a consumer of the second topic wakes it")
	require.Nil(t, memos["tx/orders/unknown"])
	require.Equal(t, "no confirm", own.started["unstored"].Carried[0].Refusal)
	require.Equal(t, holdfast.Unknown, own.started["unknown"].Carried[0].Resolution)
	require.Equal(t, holdfast.Commit, own.started["unrouted"].Carried[0].Resolution)
	require.Contains(t, got[1].Reason, "goes on in workflow tx/orders/unstored: undecided: nobody knows")
	require.Contains(t, got[4].Reason, "tx/orders/unrouted: committed, and could not be delivered at once")
}

// elsewhere is a local transaction whose closure another process holds; there,
// then says how it goes.
func elsewhere(then func(tx activities.Tx) activities.LocalResult) func(activities.Tx, bool) activities.LocalResult {
	seen := map[string]bool{}
	return func(tx activities.Tx, _ bool) activities.LocalResult {
		if !seen[tx.ID] {
			seen[tx.ID] = true
			return activities.LocalResult{ID: tx.ID, Elsewhere: true}
		}
		return then(tx)
	}
}

func TestCohortElsewhere(t *testing.T) {
	w := &world{local: elsewhere(func(tx activities.Tx) activities.LocalResult {
		if tx.ID == "lost" {
			return activities.LocalResult{ID: tx.ID, Elsewhere: true, Error: "not held"}
		}
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	})}
	env, own := withOwn(t, w)
	got := endedCohort(t, env, cohort(tx("1", activities.Inline), tx("lost", activities.Inline), tx("2", activities.Inline)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, workflows.Left, got[1].State)
	require.Equal(t, workflows.Committed, got[2].State)
	require.True(t, own.started["lost"].Carried[0].AtOnce, "nobody else can know: a check-back at once")
}

// TestCohortWithoutItsProcess: the process that holds the closures is gone. All are
// checked back together; only what stays unknown needs a workflow of its own.
func TestCohortWithoutItsProcess(t *testing.T) {
	gone := errors.New("gone")
	var own *own
	w := &world{
		halfErr: func(id string) error {
			if id == "unstored" {
				return errors.New("no confirm")
			}
			return nil
		},
		local: func(tx activities.Tx, _ bool) activities.LocalResult {
			switch tx.ID {
			case "here":
				return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
			case "slow":
				return activities.LocalResult{ID: tx.ID, Running: true}
			}
			return activities.LocalResult{ID: tx.ID, Elsewhere: true}
		},
		check: func(tx activities.Tx, _ int) activities.LocalResult {
			own.mu.Lock()
			require.Contains(t, own.started, "slow", "it does not wait for the others' check-back")
			own.mu.Unlock()
			r := activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback}
			switch tx.ID {
			case "committed":
				r.Resolution, r.Messages = holdfast.Commit, []holdfast.Message{{ID: tx.ID, Topic: "order.placed", Key: "made", Body: []byte("changed")}}
			case "locked":
				r.Resolution, r.Error = holdfast.Unknown, "the local transaction is still open"
			}
			return r
		},
	}
	env, started := withOwn(t, w)
	own = started
	env.OnActivity(activities.LocalTransactionsInProcess, mock.Anything, mock.Anything).Return(nil, gone)
	var keys []string
	env.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(args mock.Arguments) {
		keys, _ = args.Get(0).(temporal.SearchAttributes).GetKeywordList(temporal.NewSearchAttributeKeyKeywordList(workflows.AttributeKey))
	}).Return(nil)
	var txs []activities.Tx
	for _, id := range []string{"here", "unstored", "slow", "committed", "never", "locked"} {
		txs = append(txs, tx(id, activities.Inline))
	}
	got := endedCohort(t, env, cohort(txs...))
	for i, want := range []workflows.State{workflows.Committed, workflows.Refused, workflows.Left, workflows.Committed, workflows.RolledBack, workflows.Left} {
		require.Equal(t, want, got[i].State, got[i].ID)
	}
	require.Equal(t, "no confirm", got[1].Reason)
	require.Equal(t, 4, w.asked, "not what runs, and not what is decided")
	require.Len(t, own.started, 2)
	require.Equal(t, workflows.Running, own.started["slow"].Carried[0].State)
	require.True(t, own.started["locked"].Carried[0].AtOnce)
	require.Contains(t, got[5].Reason, "undecided: the local transaction is still open")
	require.Len(t, w.delivered, 2)
	require.Contains(t, keys, "made", "what it made is found")
	require.Equal(t, map[string]holdfast.Resolution{"here": holdfast.Commit, "committed": holdfast.Commit, "never": holdfast.Rollback, "unstored": holdfast.Rollback}, w.settled)
}

// noChildren is a server that starts no child workflows.
type noChildren struct {
	interceptor.WorkerInterceptorBase
	interceptor.WorkflowInboundInterceptorBase
	interceptor.WorkflowOutboundInterceptorBase
}

func (n *noChildren) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	of := &noChildren{}
	of.WorkflowInboundInterceptorBase.Next = next
	return of
}

func (n *noChildren) Init(next interceptor.WorkflowOutboundInterceptor) error {
	n.WorkflowOutboundInterceptorBase.Next = next
	return n.WorkflowInboundInterceptorBase.Next.Init(n)
}

type noChild struct{ workflow.Future }

func (f noChild) GetChildWorkflowExecution() workflow.Future { return f.Future }
func (f noChild) SignalChildWorkflow(workflow.Context, string, any) workflow.Future {
	return f.Future
}

func (n *noChildren) ExecuteChildWorkflow(ctx workflow.Context, _ string, _ ...any) workflow.ChildWorkflowFuture {
	failed, set := workflow.NewFuture(ctx)
	set.SetError(errors.New("no such namespace"))
	return noChild{failed}
}

// TestCohortCannotPart: what cannot leave is settled in its cohort, and an operator
// can act on it there, by an Update and by a signal that came early.
func TestCohortCannotPart(t *testing.T) {
	w := &world{local: elsewhere(func(tx activities.Tx) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Error: "connection lost"}
	})}
	env, _ := withOwn(t, w)
	env.SetWorkerOptions(sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience,
		Interceptors: []interceptor.WorkerInterceptor{&noChildren{}}})
	env.OnActivity(activities.LocalTransactionsInProcess, mock.Anything, mock.Anything).After(time.Minute).
		Return([]activities.LocalResult{{ID: "1", Error: "lost"}, {ID: "2", Error: "lost"}}, nil)
	env.RegisterDelayedCallback(func() {
		env.SignalWorkflow(transactions.UpdateCommit, transactions.Request{Tx: "1", Operator: "ann", Reason: "looked"})
	}, time.Second)
	decided := update(env, 2*time.Minute, transactions.UpdateRollback, transactions.Request{Tx: "2", Operator: "ann", Reason: "looked"})
	got := endedCohort(t, env, cohort(tx("1", activities.Inline), tx("2", activities.Inline)))
	require.NoError(t, decided.rejected)
	require.NoError(t, decided.err)
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, "ann: looked", got[0].Decided)
	require.Equal(t, workflows.RolledBack, got[1].State)
}

// TestCohortSlow: a member that still runs leaves as such.
func TestCohortSlow(t *testing.T) {
	w := &world{local: func(tx activities.Tx, _ bool) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Running: tx.ID == "slow", Resolution: holdfast.Commit}
	}}
	env, own := withOwn(t, w)
	got := endedCohort(t, env, cohort(tx("1", activities.Inline), tx("slow", activities.Inline)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, workflows.Left, got[1].State)
	require.Contains(t, got[1].Reason, "its local transaction is still running")
	require.Equal(t, workflows.Running, own.started["slow"].Carried[0].State)
	require.Len(t, w.delivered, 1)

	// There it is awaited, by a regular activity, and its half message is not sent again.
	w = &world{}
	env = setup(t, w)
	var scheduled []string
	env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		scheduled = append(scheduled, info.ActivityType.Name)
	})
	got = ended(t, env, own.started["slow"])
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, []string{activities.LocalTransactionInProcess}, scheduled)
	require.Empty(t, w.halves)
	require.Len(t, w.delivered, 1)
}

// TestCohortAlreadyLeft: a member that has a workflow of its own is left to it.
func TestCohortAlreadyLeft(t *testing.T) {
	w := &world{local: func(tx activities.Tx, _ bool) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Error: "lost"}
	}}
	env := setup(t, w)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context, in transactions.Input) (transactions.Status, error) {
		return transactions.Transaction(ctx, in)
	}, workflow.RegisterOptions{Name: "Cohort"})
	env.OnWorkflow(transactions.Name, mock.Anything, mock.Anything).Return(transactions.Status{},
		serviceerror.NewWorkflowExecutionAlreadyStarted("already there", "", ""))
	got := endedCohort(t, env, cohort(tx("1", activities.Inline)))
	require.Equal(t, workflows.Left, got[0].State)
}

// TestOperatorAndCohort: an operator is told where to send it; a signal that waits
// for its member to leave does not hold up the cohort's end; a cancel is carried.
func TestOperatorAndCohort(t *testing.T) {
	w := &world{local: elsewhere(func(tx activities.Tx) activities.LocalResult {
		if tx.ID == "1" {
			return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
		}
		return activities.LocalResult{ID: tx.ID, Error: "connection lost"}
	})}
	env, own := withOwn(t, w)
	env.OnActivity(activities.LocalTransactionsInProcess, mock.Anything, mock.Anything).After(time.Minute).
		Return([]activities.LocalResult{{ID: "1", Resolution: holdfast.Commit}, {ID: "2", Error: "connection lost"}}, nil)
	ask := transactions.Request{Tx: "2", Operator: "ann", Reason: "looked"}
	refused := update(env, time.Second, transactions.UpdateRollback, ask)
	again := update(env, 2*time.Second, transactions.UpdateRecheck, ask)
	env.RegisterDelayedCallback(func() {
		env.SignalWorkflow(transactions.UpdateRollback, ask)
		env.SignalWorkflow(transactions.UpdateRollback, transactions.Request{Tx: "1", Operator: "ann", Reason: "looked"})
	}, 3*time.Second)
	env.RegisterDelayedCallback(env.CancelWorkflow, 4*time.Second)
	got := endedCohort(t, env, cohort(tx("1", activities.Inline), tx("2", activities.Inline)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, workflows.Left, got[1].State)
	require.ErrorContains(t, refused.rejected, "then send this to tx/orders/2")
	require.ErrorContains(t, again.rejected, "tx/orders/2")
	require.True(t, own.started["2"].Carried[0].Cancelled)
}

// TestCarriedCancel: it is an operator's rollback in the member's own workflow,
// too.
func TestCarriedCancel(t *testing.T) {
	in := input(tx("1", activities.Inline))
	in.Carried = []transactions.Carried{{MemberStatus: transactions.MemberStatus{ID: "1", State: workflows.Running}, Cancelled: true}}
	w := &world{}
	got := ended(t, setup(t, w), in)
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Contains(t, got[0].Decided, "Temporal")
	require.Empty(t, w.ran)
}

func TestCohortReadsWell(t *testing.T) {
	var txs []activities.Tx
	for i := range 37 {
		member := tx(fmt.Sprint(i), activities.Inline)
		if i%5 == 0 {
			member.Messages[0].Topic = "order.paid"
		}
		txs = append(txs, member)
	}
	in := transactions.Input{Prefix: "holdfast", Group: "orders", Transactions: txs}
	o := transactions.CohortStartOptions(workflows.CohortWorkflowID("", "orders", "u"), in)
	require.Equal(t, "cohort/orders/u", o.ID)
	require.Nil(t, o.Memo)
	require.Equal(t, "cohort of 37 transactions: order.placed (29), order.paid (8)", o.StaticSummary)
	require.Contains(t, o.StaticDetails, "tx/orders/")
	topic, _ := o.TypedSearchAttributes.GetKeyword(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeTopic))
	require.Equal(t, "order.paid", topic)
	keys, _ := o.TypedSearchAttributes.GetKeywordList(temporal.NewSearchAttributeKeyKeywordList(workflows.AttributeKey))
	require.Subset(t, keys, []string{"0", "36", "o-0", "o-36", "order.paid", "order.placed"})
	in.Transactions = []activities.Tx{tx("0190a5b4-0000-7000-8000-00000000002a", activities.Inline)}
	for short, want := range map[bool]string{true: "00000000002a", false: in.Transactions[0].ID} {
		in.ShortIDs = short
		o := transactions.CohortStartOptions("x", in)
		keys, _ := o.TypedSearchAttributes.GetKeywordList(temporal.NewSearchAttributeKeyKeywordList(workflows.AttributeKey))
		require.Contains(t, keys, want)
	}

	w := &world{local: func(tx activities.Tx, _ bool) activities.LocalResult {
		if tx.ID == "7" {
			return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback, Error: "out of stock"}
		}
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}}
	env, _ := withOwn(t, w)
	env.OnUpsertTypedSearchAttributes(mock.Anything).Panic("an upsert costs an action")
	endedCohort(t, env, cohort(txs...))
	var status transactions.Status
	require.NoError(t, env.GetWorkflowResult(&status))
	require.Equal(t, "37 transactions: 36 committed, 1 rolled-back", status.Summary)
}
