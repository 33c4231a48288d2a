package cli

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// together starts one workflow, with this ID and on this task queue, for
// transactions with these keys, whose topics differ. The key undecidable is also
// the topic of one that nobody can decide.
func (s *shop) together(id, kind, queue string, keys ...string) (client.WorkflowRun, []activities.Tx) {
	s.t.Helper()
	var txs []activities.Tx
	var found []string
	for i, key := range keys {
		tx := activities.Tx{ID: uuid.Must(uuid.NewV7()).String(), Form: activities.Registered, Handler: "place"}
		topic := "order.placed"
		if i > 0 {
			topic = "order.changed"
		}
		if key == undecidable {
			topic, key, tx.Form, tx.Handler = undecidable, "L-2", activities.HandedOver, ""
		}
		tx.Messages = []holdfast.Message{{ID: tx.ID, Topic: topic, Key: key, Body: []byte("{}")}}
		txs = append(txs, tx)
		if i%2 == 0 {
			found = append(found, key, workflows.FindableID(tx.ID))
		} else {
			found = append(found, key, tx.ID) // as an earlier version did
		}
	}
	run, err := s.c.ExecuteWorkflow(s.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: queue,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(workflows.AttributeTopic).ValueSet("order.placed"),
			temporal.NewSearchAttributeKeyKeywordList(workflows.AttributeKey).ValueSet(append(found, "order.placed", "order.changed")))},
		kind, txflow.Input{Group: s.group, Prefix: s.prefix(), Cohort: true, Transactions: txs,
			Schedule: txflow.Schedule{Delays: []time.Duration{10 * time.Millisecond}, MaxChecks: 1}})
	require.NoError(s.t, err)
	return run, txs
}

// togetherToTheEnd returns the transactions with these keys, which ended in one
// workflow: where a slow machine had one of them leave, another shop tries.
func togetherToTheEnd(t *testing.T, keys ...string) (s *shop, id string, txs []activities.Tx) {
	t.Helper()
	for {
		s = newShop(t)
		id = workflows.CohortWorkflowID(s.prefix(), s.group, uuid.NewString())
		var run client.WorkflowRun
		run, txs = s.together(id, txflow.Name, s.queue(), keys...)
		var status txflow.Status
		require.NoError(t, run.Get(t.Context(), &status))
		if !slices.ContainsFunc(status.Transactions, func(m txflow.MemberStatus) bool { return m.State == workflows.Left }) {
			return s, id, txs
		}
	}
}

func (s *shop) prefix() string { return s.group }

func (s *shop) queue() string { return workflows.TaskQueue(s.prefix(), s.group) }

// TestMembersOfACohortAreFound: by ID, key, topic and state, each in a row of its
// own and with its own steps.
func TestMembersOfACohortAreFound(t *testing.T) {
	s, id, txs := togetherToTheEnd(t, "C-1", "none", "C-3")
	rows := s.list(func(rows []transactions.Row) bool { return len(rows) == 3 && rows[0].Closed != nil })
	for i, want := range []string{"committed", "rolled-back", "committed"} {
		require.Equal(t, txs[i].ID, rows[i].Tx)
		require.Equal(t, want, rows[i].State)
		require.Equal(t, id, rows[i].WorkflowID)
	}
	all := func([]transactions.Row) bool { return true }
	require.Equal(t, []string{txs[1].ID}, ids(s.list(all, "--state", "rolled-back")))
	require.Equal(t, []string{txs[1].ID, txs[2].ID}, ids(s.list(all, "--topic", "order.changed")))
	require.Equal(t, []string{txs[0].ID}, ids(s.list(all, "--topic", "order.placed")))
	require.Equal(t, []string{txs[2].ID}, ids(s.list(all, "--key", "C-3")))
	require.Empty(t, s.list(all, "--key", "order.changed"), "a topic is no key")

	for _, args := range [][]string{{txs[1].ID}, {txs[1].ID, "--group", s.group}, {workflows.WorkflowID(s.prefix(), s.group, txs[1].ID)}, {"none", "--group", s.group}} {
		var d transactions.Detail
		s.decode(&d, append([]string{"tx", "show"}, args...)...)
		require.Equal(t, txs[1].ID, d.Tx)
		require.Equal(t, "rolled-back", d.State)
		require.Equal(t, id, d.WorkflowID)
		require.Equal(t, 3, d.Shared)
		require.Len(t, d.Messages, 1)
		var names []string
		for _, st := range d.Steps {
			names = append(names, st.Name)
		}
		require.Equal(t, []string{"started", "HalfSend", "LocalTransaction", "Rollback", "completed"}, names, "not its neighbours' Commit")
	}
	require.Equal(t, []string{txs[2].ID}, ids(s.list(all, "--key", txs[2].ID)), "as today's version finds them")
	var d transactions.Detail
	s.decode(&d, "tx", "show", txs[2].ID)
	require.Equal(t, txs[2].ID, d.Tx)
	r := s.holdfast("tx", "show", "C-3", "--group", s.group)
	require.Regexp(t, `shared +with 2 other transactions`, r.out)
	require.NotContains(t, r.out, txs[0].ID)
	r = s.holdfast("tx", "show", id)
	require.Equal(t, frame.ExitOK, r.status, r.err)
	for _, tx := range txs {
		require.Contains(t, r.out, tx.ID)
	}
	r = s.holdfast("tx", "show", "order.changed", "--group", s.group)
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "no transaction has the ID or the key")
	r = s.holdfast("tx", "commit", "C-3", "--group", s.group, "--reason", "x")
	require.Contains(t, r.err, "settled already")
}

// TestAMemberThatLeftIsFollowed: it is shown, listed and settled where it goes on.
func TestAMemberThatLeftIsFollowed(t *testing.T) {
	s := newShop(t)
	id := workflows.CohortWorkflowID(s.prefix(), s.group, uuid.NewString())
	run, txs := s.together(id, txflow.Name, s.queue(), "L-1", undecidable)
	require.NoError(t, run.Get(t.Context(), nil))
	stays, leaves := txs[0].ID, txs[1].ID
	s.list(func(rows []transactions.Row) bool { return len(rows) == 1 && rows[0].Tx == leaves }, "--state", "parked")
	rows := s.list(func(rows []transactions.Row) bool { return len(rows) == 2 })
	require.ElementsMatch(t, []string{stays, leaves}, ids(rows), "one row for each")
	rows = s.list(func(rows []transactions.Row) bool { return len(rows) == 1 }, "--state", "left")
	require.Equal(t, id, rows[0].WorkflowID)
	require.Contains(t, rows[0].Reason, "undecided")

	for _, args := range [][]string{{leaves}, {"L-2", "--group", s.group}} {
		var d transactions.Detail
		s.decode(&d, append([]string{"tx", "show"}, args...)...)
		require.Equal(t, workflows.WorkflowID(s.prefix(), s.group, leaves), d.WorkflowID)
		require.Equal(t, "parked", d.State)
		require.Equal(t, id, d.LeftFrom)
	}
	r := s.holdfast("tx", "show", id)
	require.Contains(t, r.out, "holdfast tx show "+workflows.WorkflowID(s.prefix(), s.group, leaves))
	require.Contains(t, r.out, "goes on in "+workflows.WorkflowID(s.prefix(), s.group, leaves))
	var done []actions.Outcome
	s.decode(&done, "tx", "commit", "L-2", "--group", s.group, "--reason", "the partner says so")
	require.Equal(t, actions.Committed, done[0].Outcome)
}

// TestWhatASharedWorkflowLeftUndecidedIsTakenUp: a recheck of the workflow takes
// up each of its transactions, and the doctor tells it from what goes on.
func TestWhatASharedWorkflowLeftUndecidedIsTakenUp(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	lost := func() (cohorts, recoveries string) {
		_, by := s.diagnose(s.env)
		return by["Temporal lost cohorts"].Detail, by["Temporal lost recoveries"].Detail
	}
	nobody := s.queue() + ".nobody" // so that nothing happens before the end
	cohort := workflows.CohortWorkflowID(s.prefix(), s.group, uuid.NewString())
	_, txs := s.together(cohort, txflow.Name, nobody, "T-1", "T-2", "T-3")
	recovery := workflows.RecoveryWorkflowID(s.prefix(), s.group, uuid.NewString())
	_, halves := s.together(recovery, txflow.RecoveryName, nobody, "R-1", "R-2")
	rows := s.list(func(rows []transactions.Row) bool { return len(rows) == 5 })
	require.Equal(t, []string{"running", "running"}, []string{rows[0].State, rows[4].State}, "open ones are listed one by one, too")
	for _, id := range []string{cohort, recovery} {
		require.NoError(t, s.c.TerminateWorkflow(t.Context(), id, "", "an accident"))
	}
	s.eventually(func() bool {
		cohorts, recoveries := lost()
		return strings.HasPrefix(cohorts, "1 cohort closed undecided, with 3 transactions") && strings.Contains(recoveries, "2 half messages")
	}, func() string { return "the doctor does not see what is lost" })
	require.Len(t, s.list(func(rows []transactions.Row) bool { return len(rows) == 5 }, "--state", "terminated"), 5)
	var d transactions.Detail
	s.decode(&d, "tx", "show", "T-2", "--group", s.group)
	require.Equal(t, "terminated", d.State)

	r := s.holdfast("tx", "recheck", txs[1].ID, "--group", s.group, "--reason", "taken up")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Contains(t, r.out, txs[1].ID+": rolled-back", "its local transaction never ran")
	s.decode(&d, "tx", "show", "T-2", "--group", s.group)
	require.Equal(t, workflows.WorkflowID(s.prefix(), s.group, txs[1].ID), d.WorkflowID)
	cohorts, _ := lost()
	require.Contains(t, cohorts, "with 2 transactions")

	for id, n := range map[string]int{cohort: 2, recovery: 2} {
		r = s.holdfast("tx", "recheck", id, "--reason", "taken up")
		require.Equal(t, frame.ExitOK, r.status, r.err)
		require.Contains(t, r.out, strconv.Itoa(n)+" transactions taken up")
	}
	cohorts, recoveries := lost()
	require.Empty(t, cohorts+recoveries)
	rows = s.list(func(rows []transactions.Row) bool { return len(rows) == 5 && rows[0].Closed != nil })
	require.ElementsMatch(t, []string{txs[0].ID, txs[1].ID, txs[2].ID, halves[0].ID, halves[1].ID}, ids(rows))
	for _, r := range rows {
		require.Equal(t, "rolled-back", r.State)
	}
}

// TestARecoverysHalvesAreFoundByID: also those that its search attributes have no
// room for.
func TestARecoverysHalvesAreFoundByID(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	tx := activities.Tx{ID: uuid.Must(uuid.NewV7()).String(), Form: activities.HandedOver, Messages: []holdfast.Message{{Topic: "order.placed", Key: "H-1"}}}
	other := tx
	other.ID = uuid.Must(uuid.NewV7()).String()
	id := workflows.RecoveryWorkflowID(s.prefix(), s.group, uuid.NewString())
	_, err := s.c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: s.queue() + ".nobody"},
		txflow.RecoveryName, txflow.Input{Group: s.group, Transactions: []activities.Tx{tx, other}})
	require.NoError(t, err)
	s.eventually(func() bool {
		return s.holdfast("tx", "show", tx.ID, "--group", s.group).status == frame.ExitOK
	}, func() string { return "it is not found" })
	var d transactions.Detail
	s.decode(&d, "tx", "show", workflows.WorkflowID(s.prefix(), s.group, other.ID))
	require.Equal(t, id, d.WorkflowID)
	require.Equal(t, other.ID, d.Tx)
	require.Equal(t, "running", d.State)
	require.Contains(t, d.Unknown, "no process of group")
}

// TestExpressLeavesNoHistory: what is known is in the outcome row.
func TestExpressLeavesNoHistory(t *testing.T) {
	s := newShop(t)
	send := func(fail error) string {
		receipt, err := s.w.Send(t.Context(), holdfast.Message{Topic: "order.placed", Key: "E-1", Lane: holdfast.Express},
			func(context.Context, *gorm.DB, *holdfast.Message) error { return fail })
		require.True(t, err == nil || errors.Is(err, errSoldOut), err)
		return receipt.TxID
	}
	good := send(nil)
	for _, id := range []string{good, workflows.WorkflowID(s.prefix(), s.group, good)} {
		var d transactions.Detail
		s.decode(&d, "tx", "show", id)
		require.Equal(t, good, d.Tx)
		require.Equal(t, "committed", d.State)
		require.Equal(t, holdfast.Commit, d.Outcome.Resolution)
		require.Contains(t, d.Unknown, "Express lane")
		require.Empty(t, d.WorkflowID)
		require.Empty(t, d.UI)
	}
	r := s.holdfast("tx", "show", good)
	require.Regexp(t, `outcome row +commit, `, r.out)
	require.NotContains(t, r.out, "Steps")
	r = s.holdfast("tx", "show", good, "--group", s.group+".other")
	require.Equal(t, frame.ExitError, r.status)

	r = s.holdfast("tx", "show", send(errSoldOut))
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "nor has the database an outcome row")
	r = runProgram(t, append(s.env, "DATABASE_URL="), "tx", "show", good)
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "set DATABASE_URL to see what its outcome row says")
}
