package transactions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/transactions"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// world is what the steps of a workflow under test act on.
type world struct {
	mu        sync.Mutex
	halves    []string
	delivered []holdfast.Message
	settled   map[string]holdfast.Resolution
	ran       []string
	asked     int

	halfErr    func(txID string) error
	publishErr func(txID string, attempt int) error
	publishes  int
	tried      [][]string // the messages of each publish
	local      func(tx activities.Tx, regular bool) activities.LocalResult
	check      func(tx activities.Tx, n int) activities.LocalResult
	decideErr  error
	databases  activities.Databases

	alerts  []holdfast.Alert
	onAlert func()
}

func (w *world) PublishHalves(_ []context.Context, hs []holdfast.Half, done func(i int, err error)) {
	for i, h := range hs {
		done(i, w.publishHalf(h))
	}
}

func (w *world) publishHalf(h holdfast.Half) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.halfErr != nil {
		if err := w.halfErr(h.TxID); err != nil {
			return err
		}
	}
	w.halves = append(w.halves, h.TxID)
	return nil
}

func (w *world) PublishMessages(_ context.Context, _, txID string, ms []holdfast.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.publishes++
	var ids []string
	for _, m := range ms {
		ids = append(ids, m.ID)
	}
	w.tried = append(w.tried, ids)
	if w.publishErr != nil {
		if err := w.publishErr(txID, w.publishes); err != nil {
			return err
		}
	}
	w.delivered = append(w.delivered, ms...)
	return nil
}

func (w *world) Settle(_, txID string, r holdfast.Resolution) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settled[txID] = r
}

func (w *world) RunLocal(_ context.Context, _ string, tx activities.Tx) activities.LocalResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ran = append(w.ran, tx.ID)
	if w.local == nil {
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}
	return w.local(tx, len(w.ran) > 1)
}

func (w *world) CheckBackAll(ctx context.Context, group string, txs []activities.Tx) []activities.LocalResult {
	out := make([]activities.LocalResult, len(txs))
	for i, tx := range txs {
		out[i] = w.CheckBack(ctx, group, tx)
	}
	return out
}

func (w *world) CheckBack(_ context.Context, _ string, tx activities.Tx) activities.LocalResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.check == nil {
		return activities.LocalResult{ID: tx.ID, Error: "nobody knows"}
	}
	return w.check(tx, w.asked)
}

func (w *world) Decide(_ context.Context, _ string, tx activities.Tx, r holdfast.Resolution, _ bool) (activities.LocalResult, error) {
	return activities.LocalResult{ID: tx.ID, Resolution: r}, w.decideErr
}

func (w *world) Alert(a holdfast.Alert) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alerts = append(w.alerts, a)
	if w.onAlert != nil {
		w.onAlert()
	}
}

func setup(t *testing.T, w *world) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	w.settled = map[string]holdfast.Resolution{}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(sdkworker.Options{DeadlockDetectionTimeout: workflowtest.Patience}) // a busy machine is slow
	env.RegisterWorkflowWithOptions(transactions.Transaction, workflow.RegisterOptions{Name: transactions.Name})
	steps := &activities.Transactions{Halves: w, Publish: w, Ops: w, Locals: w, Truth: w, Alerts: w, Databases: w.databases}
	steps.Register(env)
	env.SetTestTimeout(time.Minute)
	return env
}

func tx(id string, form activities.Form) activities.Tx {
	return activities.Tx{ID: id, Form: form, Instance: "p1", Handler: "place",
		Messages: []holdfast.Message{{ID: id, Topic: "order.placed", Key: "o-" + id, Body: []byte(`{"n":1}`)}}}
}

func input(txs ...activities.Tx) transactions.Input {
	return transactions.Input{Group: "orders", Transactions: txs}
}

// ended runs the workflow to its end and returns its result.
func ended(t *testing.T, env *testsuite.TestWorkflowEnvironment, in transactions.Input) []transactions.MemberStatus {
	t.Helper()
	env.ExecuteWorkflow(transactions.Name, in)
	require.True(t, env.IsWorkflowCompleted())
	require.NoError(t, env.GetWorkflowError())
	var s transactions.Status
	require.NoError(t, env.GetWorkflowResult(&s))
	return s.Transactions
}

// update sends an Update after the time has passed, and returns what came back.
type updateResult struct {
	status   transactions.MemberStatus
	err      error
	rejected error
}

func update(env *testsuite.TestWorkflowEnvironment, after time.Duration, name string, arg any) *updateResult {
	r := &updateResult{}
	env.RegisterDelayedCallback(func() {
		env.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: func(err error) { r.rejected = err },
			OnComplete: func(result any, err error) {
				r.err = err
				if s, ok := result.(transactions.MemberStatus); ok {
					r.status = s
				}
			},
		}, arg)
	}, after)
	return r
}

func TestCommit(t *testing.T) {
	w := &world{}
	got := ended(t, setup(t, w), input(tx("1", activities.Inline)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, []string{"1"}, w.halves)
	require.Len(t, w.delivered, 1)
	require.Equal(t, holdfast.Commit, w.settled["1"])
}

func TestRollback(t *testing.T) {
	w := &world{local: func(tx activities.Tx, _ bool) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback, Error: "out of stock"}
	}}
	got := ended(t, setup(t, w), input(tx("1", activities.Inline)))
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Equal(t, "out of stock", got[0].Reason)
	require.Empty(t, w.delivered)
	require.Equal(t, holdfast.Rollback, w.settled["1"])
}

func TestHalfMessageNotStored(t *testing.T) {
	w := &world{halfErr: func(string) error { return errors.New("no confirm") }, check: answers(holdfast.Rollback)}
	got := ended(t, setup(t, w), input(tx("1", activities.Inline)))
	require.Equal(t, workflows.Refused, got[0].State)
	require.Equal(t, "no confirm", got[0].Reason)
	require.Empty(t, w.ran, "the local transaction must not run without a half message")
}

// TestHalfMessageNotStoredAgain is the repetition of a workflow task whose first
// run had come further: the local transaction is committed.
func TestHalfMessageNotStoredAgain(t *testing.T) {
	w := &world{halfErr: func(string) error { return errors.New("no confirm") }, check: answers(holdfast.Commit)}
	got := ended(t, setup(t, w), input(tx("1", activities.Inline)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Len(t, w.delivered, 1)
	require.Empty(t, w.ran)
}

// TestConfirmedAlthoughHalfMessageNotStored is the same for a split transaction.
func TestConfirmedAlthoughHalfMessageNotStored(t *testing.T) {
	w := &world{halfErr: func(string) error { return errors.New("no confirm") }}
	env := setup(t, w)
	update(env, time.Second, transactions.UpdateConfirm, transactions.Confirmation{Tx: "1", Resolution: holdfast.Commit})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Len(t, w.delivered, 1)
}

// answers is a check-back that always knows.
func answers(r holdfast.Resolution) func(activities.Tx, int) activities.LocalResult {
	return func(tx activities.Tx, _ int) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Resolution: r}
	}
}

func TestChangedMessagesAreDelivered(t *testing.T) {
	changed := []holdfast.Message{{ID: "1", Topic: "order.placed", Key: "o-1", Body: []byte("changed")}}
	w := &world{local: func(tx activities.Tx, _ bool) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit, Messages: changed}
	}}
	ended(t, setup(t, w), input(tx("1", activities.Inline)))
	require.Equal(t, changed, w.delivered)
}

func TestChangedKeyIsFindable(t *testing.T) {
	w := &world{local: func(tx activities.Tx, _ bool) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit,
			Messages: []holdfast.Message{{ID: tx.ID, Topic: "order.placed", Key: "A-1007"}}}
	}}
	env := setup(t, w)
	env.OnUpsertTypedSearchAttributes(mock.Anything).Return(func(attributes temporal.SearchAttributes) error {
		keys, ok := attributes.GetKeywordList(temporal.NewSearchAttributeKeyKeywordList(workflows.AttributeKey))
		require.True(t, ok)
		require.Equal(t, []string{"A-1007"}, keys)
		return nil
	}).Once()
	ended(t, env, input(tx("1", activities.Inline)))
	env.AssertExpectations(t)
}

func TestHappyPathUpsertsNothing(t *testing.T) {
	env := setup(t, &world{})
	env.OnUpsertTypedSearchAttributes(mock.Anything).Panic("an upsert costs an action")
	ended(t, env, input(tx("1", activities.Inline)))
}

func TestMembersAreDecidedByThemselves(t *testing.T) {
	w := &world{
		halfErr: func(id string) error {
			if id == "refused" {
				return errors.New("no confirm")
			}
			return nil
		},
		local: func(tx activities.Tx, _ bool) activities.LocalResult {
			switch tx.ID {
			case "back":
				return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback, Error: "no"}
			case "unknown":
				return activities.LocalResult{ID: tx.ID, Error: "answer lost"}
			}
			return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
		},
		check: func(tx activities.Tx, n int) activities.LocalResult {
			if tx.ID == "refused" {
				return answers(holdfast.Rollback)(tx, n)
			}
			return answers(holdfast.Commit)(tx, n)
		},
	}
	got := ended(t, setup(t, w), input(tx("good", activities.Inline), tx("back", activities.Inline),
		tx("refused", activities.Inline), tx("unknown", activities.Inline)))
	var states []workflows.State
	for _, m := range got {
		states = append(states, m.State)
	}
	require.Equal(t, []workflows.State{workflows.Committed, workflows.RolledBack, workflows.Refused, workflows.Committed}, states)
	require.NotContains(t, w.ran, "refused")
	require.Len(t, w.delivered, 2)
	require.Equal(t, 2, w.asked)
}

func TestClosureElsewhere(t *testing.T) {
	w := &world{local: func(tx activities.Tx, regular bool) activities.LocalResult {
		if !regular {
			return activities.LocalResult{ID: tx.ID, Elsewhere: true}
		}
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}}
	got := ended(t, setup(t, w), input(tx("1", activities.Inline)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Zero(t, w.asked, "a denied eager start must not cost a check-back")
}

func TestCallingProcessGone(t *testing.T) {
	w := &world{
		local: func(tx activities.Tx, _ bool) activities.LocalResult {
			return activities.LocalResult{ID: tx.ID, Elsewhere: true}
		},
		check: func(tx activities.Tx, _ int) activities.LocalResult {
			return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback}
		},
	}
	env := setup(t, w)
	start := env.Now()
	got := ended(t, env, input(tx("1", activities.Inline)))
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Equal(t, 1, w.asked)
	require.Less(t, env.Now().Sub(start), 10*time.Second, "check-back follows at once, in the workflow's own time")
}

func TestScheduleThenPark(t *testing.T) {
	w := &world{}
	env := setup(t, w)
	start := env.Now()
	var asked int
	env.RegisterDelayedCallback(func() {
		var s transactions.Status
		v, err := env.QueryWorkflow(workflows.QueryStatus)
		require.NoError(t, err)
		require.NoError(t, v.Get(&s))
		require.Equal(t, workflows.Parked, s.Transactions[0].State)
		require.Contains(t, s.Transactions[0].Reason, "undecided after 15 check-backs")
		require.Contains(t, s.Transactions[0].Reason, "nobody knows")
		asked = w.asked
	}, 3*time.Hour)
	done := update(env, 4*time.Hour, transactions.UpdateCommit, transactions.Request{Operator: "ann", Reason: "the bank says so"})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.Equal(t, 15, asked)
	require.Len(t, w.alerts, 1)
	require.Contains(t, w.alerts[0].Reason, "undecided after 15 check-backs")
	require.Contains(t, w.alerts[0].Remedy, "`holdfast tx commit tx/orders/1 --reason TEXT`, `holdfast tx rollback tx/orders/1 --reason TEXT`, `holdfast tx recheck tx/orders/1 --reason TEXT`")
	w.alerts[0].Reason, w.alerts[0].At, w.alerts[0].WorkflowID, w.alerts[0].Remedy = "", time.Time{}, "", ""
	require.Equal(t, holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", ID: "1", Topic: "order.placed", Key: "o-1", Parked: true}, w.alerts[0])
	require.NoError(t, done.rejected)
	require.NoError(t, done.err)
	require.Equal(t, workflows.Committed, done.status.State)
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, "ann: the bank says so", got[0].Decided)
	require.Len(t, w.delivered, 1)
	require.GreaterOrEqual(t, env.Now().Sub(start), 4*time.Hour)
}

// TestOperatorBeforeTheAlertIsOut: a request that comes while the alert is being
// raised is not lost.
func TestOperatorBeforeTheAlertIsOut(t *testing.T) {
	w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
		if n <= 15 {
			return activities.LocalResult{ID: tx.ID, Error: "nobody knows"}
		}
		return answers(holdfast.Commit)(tx, n)
	}}
	env := setup(t, w)
	w.onAlert = func() {
		env.SignalWorkflow(transactions.UpdateRecheck, transactions.Request{Operator: "ann", Reason: "I saw it"})
	}
	got := ended(t, env, input(tx("1", activities.Split)))
	require.Equal(t, workflows.Committed, got[0].State)
}

func TestOperatorRollbackWhileChecking(t *testing.T) {
	w := &world{}
	env := setup(t, w)
	done := update(env, 15*time.Second, transactions.UpdateRollback, transactions.Request{Operator: "ann", Reason: "never ran"})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.NoError(t, done.err)
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Empty(t, w.delivered)
}

func TestOperatorIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		request transactions.Request
		want    string
	}{
		"no name":       {transactions.Request{Reason: "x"}, "say who asks and why"},
		"no reason":     {transactions.Request{Operator: "x"}, "say who asks and why"},
		"another one":   {transactions.Request{Operator: "x", Reason: "y", Tx: "2"}, "does not hold transaction 2"},
		"several, none": {transactions.Request{Operator: "x", Reason: "y"}, "name one"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
				return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback}
			}}
			env := setup(t, w)
			refused := update(env, time.Second, transactions.UpdateCommit, tc.request)
			in := input(tx("1", activities.Split))
			if name == "several, none" {
				in = input(tx("1", activities.Split), tx("3", activities.Split))
			}
			ended(t, env, in)
			require.ErrorContains(t, refused.rejected, tc.want)
		})
	}
}

func TestDatabaseOverrulesOperator(t *testing.T) {
	w := &world{decideErr: fmt.Errorf("%w: the database says rollback", holdfast.ErrAlreadyResolved),
		check: func(tx activities.Tx, _ int) activities.LocalResult {
			return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback}
		}}
	env := setup(t, w)
	done := update(env, time.Second, transactions.UpdateCommit, transactions.Request{Operator: "ann", Reason: "x"})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.ErrorContains(t, done.err, "the database says rollback")
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Empty(t, w.delivered)
}

func TestRecheck(t *testing.T) {
	w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
		if n < 3 {
			return activities.LocalResult{ID: tx.ID, Error: "not yet"}
		}
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}}
	env := setup(t, w)
	refused := update(env, time.Second/2, transactions.UpdateRecheck, transactions.Request{Operator: "ann", Reason: "a consumer began", Unrouted: true})
	first := update(env, time.Second, transactions.UpdateRecheck, transactions.Request{Operator: "ann", Reason: "try"})
	second := update(env, 2*time.Second, transactions.UpdateRecheck, transactions.Request{Operator: "ann", Reason: "try"})
	third := update(env, 3*time.Second, transactions.UpdateRecheck, transactions.Request{Operator: "ann", Reason: "try"})
	ended(t, env, input(tx("1", activities.Split)))
	require.ErrorContains(t, refused.rejected, "does not wait for a consumer")
	require.Equal(t, "not yet", first.status.Reason)
	require.Equal(t, 2, second.status.Checks)
	require.Equal(t, workflows.Committed, third.status.State)
}

func TestSignalsDoAsUpdates(t *testing.T) {
	w := &world{}
	env := setup(t, w)
	env.RegisterDelayedCallback(func() {
		env.SignalWorkflow(transactions.UpdateCommit, transactions.Request{Reason: "refused: no operator"})
		env.SignalWorkflow(transactions.UpdateRollback, transactions.Request{Operator: "batch", Reason: "clean-up"})
	}, time.Second)
	got := ended(t, env, input(tx("1", activities.Split)))
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Equal(t, "batch: clean-up", got[0].Decided)
}

func TestUnroutedParksAndRecheckDelivers(t *testing.T) {
	bound := false
	w := &world{publishErr: func(string, int) error {
		if bound {
			return nil
		}
		return fmt.Errorf("%w: no consumer is bound to order.placed", holdfast.ErrUnroutable)
	}}
	env := setup(t, w)
	var parked transactions.Status
	env.RegisterDelayedCallback(func() {
		v, err := env.QueryWorkflow(workflows.QueryStatus)
		require.NoError(t, err)
		require.NoError(t, v.Get(&parked))
		w.mu.Lock()
		bound = true
		w.mu.Unlock()
	}, time.Hour)
	refused := update(env, 30*time.Minute, transactions.UpdateRollback, transactions.Request{Operator: "ann", Reason: "x"})
	done := update(env, time.Hour+time.Minute, transactions.UpdateRecheck, transactions.Request{Operator: "ann", Reason: "bound now", Unrouted: true})
	got := ended(t, env, input(tx("1", activities.Inline)))
	require.Equal(t, workflows.Parked, parked.Transactions[0].State)
	require.Contains(t, parked.Transactions[0].Reason, "no consumer is bound to order.placed")
	require.ErrorContains(t, refused.rejected, "decided already: commit")
	require.Equal(t, workflows.Committed, done.status.State)
	require.Equal(t, workflows.Committed, got[0].State)
}

// TestUnroutedGoesOn: a producer that was deployed before its consumer. Nobody types
// anything, one alert is told, and what is tried costs little.
func TestUnroutedGoesOn(t *testing.T) {
	w := &world{publishErr: func(_ string, n int) error {
		if n < 12 {
			return fmt.Errorf("%w: no consumer is bound to order.placed", holdfast.ErrUnroutable)
		}
		return nil
	}}
	env := setup(t, w)
	var parked transactions.Status
	env.RegisterDelayedCallback(func() {
		v, err := env.QueryWorkflow(workflows.QueryStatus)
		require.NoError(t, err)
		require.NoError(t, v.Get(&parked))
	}, time.Hour)
	began := env.Now()
	got := ended(t, env, input(tx("1", activities.Inline)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, workflows.Parked, parked.Transactions[0].State)
	require.Equal(t, 12, w.publishes)
	require.Len(t, w.alerts, 1)
	require.Contains(t, w.alerts[0].Remedy, "it is delivered by itself then")
	require.Greater(t, env.Now().Sub(began), time.Hour, "seldom")
}

func TestBrokerAwayWhileDelivering(t *testing.T) {
	w := &world{publishErr: func(_ string, n int) error {
		if n < 5 {
			return errors.New("connection refused")
		}
		return nil
	}}
	got := ended(t, setup(t, w), input(tx("1", activities.Inline)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, 5, w.publishes)
	require.Len(t, w.delivered, 1)
}

func TestUnreachedChecksDoNotPark(t *testing.T) {
	w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}}
	env := setup(t, w)
	failures := 0
	env.OnActivity(activities.CheckBack, mock.Anything, mock.Anything).Return(func(context.Context, activities.LocalInput) (activities.LocalResult, error) {
		if failures++; failures <= 20 {
			return activities.LocalResult{}, temporal.NewApplicationError("no worker", "Unreached")
		}
		return activities.LocalResult{Resolution: holdfast.Commit}, nil
	})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, 20, got[0].Unreached)
	require.Zero(t, got[0].Checks)
}

func TestConfirm(t *testing.T) {
	w := &world{}
	env := setup(t, w)
	changed := []holdfast.Message{{ID: "1", Topic: "order.placed", Body: []byte("changed")}}
	done := update(env, time.Second, transactions.UpdateConfirm, transactions.Confirmation{Tx: "1", Resolution: holdfast.Commit, Messages: changed})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.Equal(t, workflows.Committed, done.status.State)
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, changed, w.delivered)
	require.Zero(t, w.asked)
}

// TestConfirmIsNotBelieved: the outcome row says what became of a transaction, and
// what is delivered, whatever the Update confirm says.
func TestConfirmIsNotBelieved(t *testing.T) {
	forged := []holdfast.Message{{ID: "1", Topic: "order.placed", Body: []byte("forged")}}
	stored := []holdfast.Message{{ID: "1", Topic: "order.placed", Body: []byte("stored")}}
	for name, c := range map[string]struct {
		says, is holdfast.Resolution
		want     workflows.State
	}{
		"committed":                   {holdfast.Commit, holdfast.Commit, workflows.Committed},
		"not committed":               {holdfast.Commit, holdfast.Rollback, workflows.RolledBack},
		"not rolled back":             {holdfast.Rollback, holdfast.Commit, workflows.Committed},
		"rolled back":                 {holdfast.Rollback, holdfast.Rollback, workflows.RolledBack},
		"nobody knows yet, then back": {holdfast.Commit, holdfast.Unknown, workflows.RolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
				r := activities.LocalResult{ID: tx.ID, Resolution: c.is}
				if c.is == holdfast.Commit {
					r.Messages = stored
				}
				if c.is == holdfast.Unknown && n > 1 {
					r.Resolution = holdfast.Rollback
				}
				return r
			}}
			env := setup(t, w)
			done := update(env, time.Second, transactions.UpdateConfirm, transactions.Confirmation{Tx: "1", Resolution: c.says, Messages: forged})
			in := input(tx("1", activities.Split))
			in.ConfirmAsks = true
			got := ended(t, env, in)
			require.Equal(t, c.want, got[0].State)
			switch c.is {
			case c.says:
				require.NoError(t, done.err)
			case holdfast.Unknown:
				require.ErrorContains(t, done.err, "not known yet")
			default:
				require.ErrorContains(t, done.err, "was decided before")
			}
			if c.want == workflows.Committed {
				require.Equal(t, stored, w.delivered)
			} else {
				require.Empty(t, w.delivered)
			}
		})
	}
}

// TestConfirmAgain is an application that repeats its Commit while the messages
// cannot be delivered: each call is answered.
func TestConfirmAgain(t *testing.T) {
	bound := false
	w := &world{publishErr: func(string, int) error {
		if bound {
			return nil
		}
		return fmt.Errorf("%w: no consumer is bound to order.placed", holdfast.ErrUnroutable)
	}}
	env := setup(t, w)
	commit := transactions.Confirmation{Tx: "1", Resolution: holdfast.Commit}
	var answers []*updateResult
	for _, after := range []time.Duration{time.Second, 10 * time.Second, time.Hour} { // delivering, and parked
		answers = append(answers, update(env, after, transactions.UpdateConfirm, commit))
	}
	env.RegisterDelayedCallback(func() {
		for _, a := range answers {
			require.NoError(t, a.err)
			require.Equal(t, holdfast.Commit, a.status.Resolution)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		bound = true
	}, 2*time.Hour)
	update(env, 3*time.Hour, transactions.UpdateRecheck, transactions.Request{Operator: "ann", Reason: "bound"})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.Equal(t, workflows.Committed, got[0].State)
}

func TestDeliveryThatCannotSucceedParks(t *testing.T) {
	w := &world{publishErr: func(_ string, n int) error {
		if n > 20 {
			return nil
		}
		return fmt.Errorf("%w: RabbitMQ's max_message_size is 1000", holdfast.ErrTooLarge)
	}}
	env := setup(t, w)
	var parked transactions.Status
	env.RegisterDelayedCallback(func() {
		v, err := env.QueryWorkflow(workflows.QueryStatus)
		require.NoError(t, err)
		require.NoError(t, v.Get(&parked))
		w.publishes = 20
	}, time.Hour)
	update(env, 2*time.Hour, transactions.UpdateRecheck, transactions.Request{Operator: "ann", Reason: "raised"})
	got := ended(t, env, input(tx("1", activities.Inline)))
	require.Equal(t, workflows.Parked, parked.Transactions[0].State)
	require.Contains(t, parked.Transactions[0].Reason, "max_message_size")
	require.Equal(t, "Mend that, then send the Update `recheck`, or: `holdfast tx recheck tx/orders/1 --reason TEXT`.", w.alerts[0].Remedy)
	require.Equal(t, workflows.Committed, got[0].State)
}

func TestCancelRollsBackWhatIsUndecided(t *testing.T) {
	w := &world{}
	env := setup(t, w)
	env.RegisterDelayedCallback(env.CancelWorkflow, 15*time.Second)
	got := ended(t, env, input(tx("1", activities.Split)))
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Contains(t, got[0].Decided, "cancel")
}

func TestOperatorAfterCancel(t *testing.T) {
	w := &world{decideErr: errors.New("the database is away")}
	env := setup(t, w)
	env.RegisterDelayedCallback(env.CancelWorkflow, 15*time.Second)
	env.RegisterDelayedCallback(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.decideErr = nil
	}, time.Hour)
	done := update(env, 2*time.Hour, transactions.UpdateRollback, transactions.Request{Operator: "ann", Reason: "it is back"})
	got := ended(t, env, input(tx("1", activities.Split)))
	require.NoError(t, done.err)
	require.Equal(t, workflows.RolledBack, done.status.State)
	require.Equal(t, workflows.RolledBack, got[0].State)
}

func TestCancelOfCommittedDelivers(t *testing.T) {
	w := &world{decideErr: fmt.Errorf("%w: committed", holdfast.ErrAlreadyResolved)}
	w.check = func(tx activities.Tx, n int) activities.LocalResult {
		if n == 1 {
			return activities.LocalResult{ID: tx.ID, Error: "lock timeout"}
		}
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}
	env := setup(t, w)
	env.RegisterDelayedCallback(env.CancelWorkflow, 15*time.Second)
	got := ended(t, env, input(tx("1", activities.Split)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Len(t, w.delivered, 1)
}

// TestContinuesAsNew is a history that has got too long, by an operator who
// rechecks: what is known is carried into the next run.
func TestContinuesAsNew(t *testing.T) {
	w := &world{check: func(tx activities.Tx, n int) activities.LocalResult {
		if tx.ID == "done" {
			return answers(holdfast.Commit)(tx, n)
		}
		return activities.LocalResult{ID: tx.ID, Error: "not yet"}
	}}
	env := setup(t, w)
	env.RegisterDelayedCallback(func() { env.SetContinueAsNewSuggested(true) }, 2*time.Hour)
	rechecked := update(env, 3*time.Hour, transactions.UpdateRecheck, transactions.Request{Tx: "open", Operator: "ann", Reason: "look again"})
	env.ExecuteWorkflow(transactions.Name, input(tx("done", activities.Split), tx("open", activities.Split)))
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &again)
	require.NoError(t, rechecked.err)
	var next transactions.Input
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &next))
	require.Len(t, next.Transactions, 1)
	require.Equal(t, "open", next.Transactions[0].ID)
	require.Equal(t, 15, next.Carried[0].Checks, "the schedule's count goes on")
	require.Equal(t, workflows.Committed, next.Ended[0].State)

	w = &world{}
	env = setup(t, w)
	env.RegisterDelayedCallback(func() {
		v, err := env.QueryWorkflow(workflows.QueryStatus)
		require.NoError(t, err)
		var s transactions.Status
		require.NoError(t, v.Get(&s))
		require.Equal(t, workflows.Parked, s.Transactions[1].State, "it was parked, and is again")
	}, time.Minute)
	done := update(env, time.Hour, transactions.UpdateCommit, transactions.Request{Tx: "open", Operator: "ann", Reason: "found"})
	got := ended(t, env, next)
	require.NoError(t, done.err)
	require.Equal(t, []string{"done", "open"}, []string{got[0].ID, got[1].ID})
	require.Equal(t, workflows.Committed, got[1].State)
	require.Empty(t, w.halves)
	require.Len(t, w.delivered, 1)
}

// TestContinuesAsNewAfterCancelAndCommit: a cancel that came while the local
// transaction ran has nothing to say any more once that has committed.
func TestContinuesAsNewAfterCancelAndCommit(t *testing.T) {
	w := &world{publishErr: func(string, int) error {
		return fmt.Errorf("%w: no consumer is bound to order.placed", holdfast.ErrUnroutable)
	}}
	env := setup(t, w)
	w.local = func(tx activities.Tx, _ bool) activities.LocalResult {
		env.CancelWorkflow()
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}
	env.RegisterDelayedCallback(func() { env.SetContinueAsNewSuggested(true) }, time.Hour)
	update(env, 2*time.Hour, transactions.UpdateRecheck, transactions.Request{Operator: "ann", Reason: "again"})
	env.ExecuteWorkflow(transactions.Name, input(tx("1", activities.Inline)))
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &again)
	var next transactions.Input
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &next))
	require.Equal(t, holdfast.Commit, next.Carried[0].Resolution)
}

func TestHandedOver(t *testing.T) {
	w := &world{check: func(tx activities.Tx, _ int) activities.LocalResult {
		return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	}}
	got := ended(t, setup(t, w), input(tx("1", activities.HandedOver)))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Empty(t, w.halves, "its half message is stored already")
	require.Empty(t, w.ran)
}

func TestRegisteredWithoutHandler(t *testing.T) {
	w := &world{
		local: func(tx activities.Tx, _ bool) activities.LocalResult {
			return activities.LocalResult{ID: tx.ID, Elsewhere: true, Error: `no handler "place" is registered in this process`}
		},
		check: func(tx activities.Tx, _ int) activities.LocalResult {
			return activities.LocalResult{ID: tx.ID, Resolution: holdfast.Rollback}
		},
	}
	got := ended(t, setup(t, w), input(tx("1", activities.Registered)))
	require.Equal(t, workflows.RolledBack, got[0].State)
	require.Greater(t, len(w.ran), 10, "another worker may have the handler: it is looked for")
}

func TestInvalidInput(t *testing.T) {
	for name, in := range map[string]transactions.Input{
		"no group":   {Transactions: []activities.Tx{tx("1", activities.Inline)}},
		"no members": {Group: "orders"},
		"twice":      input(tx("1", activities.Inline), tx("1", activities.Inline)),
		"form":       input(tx("1", "odd")),
		"topic":      input(activities.Tx{ID: "1", Form: activities.Split, Messages: []holdfast.Message{{}}}),
	} {
		t.Run(name, func(t *testing.T) {
			env := setup(t, &world{})
			env.ExecuteWorkflow(transactions.Name, in)
			var failure *temporal.ApplicationError
			require.ErrorAs(t, env.GetWorkflowError(), &failure)
			require.True(t, failure.NonRetryable())
			require.True(t, strings.Contains(failure.Error(), "holdfast: "), failure)
		})
	}
}
