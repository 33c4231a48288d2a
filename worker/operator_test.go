package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// list returns the IDs of the workflows that a query of the visibility store
// finds.
func (s *site) list(query string) ([]string, error) {
	resp, err := s.temporal.ListWorkflow(s.ctx(), &workflowservice.ListWorkflowExecutionsRequest{Query: query, Namespace: s.at.Namespace})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range resp.GetExecutions() {
		ids = append(ids, e.GetExecution().GetWorkflowId())
	}
	return ids, nil
}

// TestOperator: transactions that nobody can answer for are parked, and an
// operator decides.
func TestOperator(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	o := hurried(s.options())
	o.CheckBack = transactions.Schedule{Delays: []time.Duration{50 * time.Millisecond}, MaxChecks: 2}
	w := s.runWith(o, func(w *worker.Worker) {
		w.Check("order.lost", holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
			return holdfast.Unknown, errors.New("the ledger burnt")
		}))
	})
	parked := func(t *testing.T) string {
		split, err := w.Begin(t.Context(), 0, holdfast.Message{Topic: "order.lost", Key: "K-" + newID()})
		require.NoError(t, err)
		until(t, "it is parked", func() bool { return s.status(split.ID()).State == workflows.Parked })
		status := s.status(split.ID())
		require.Equal(t, 2, status.Checks)
		require.Contains(t, status.Reason, "undecided after 2 check-backs")
		require.Contains(t, status.Reason, "the ledger burnt")
		s.found(workflows.AttributeState+" = 'parked'", split.ID())
		return split.ID()
	}

	t.Run("commit", func(t *testing.T) {
		id := parked(t)
		_, err := s.ask(id, transactions.UpdateCommit, func(r *transactions.Request) { r.Operator = "" })
		require.ErrorContains(t, err, "say who asks and why")
		_, err = s.ask(id, transactions.UpdateCommit, func(r *transactions.Request) { r.Tx = "another" })
		require.ErrorContains(t, err, "does not hold transaction another")
		require.Equal(t, workflows.Parked, s.status(id).State)
		status, err := s.ask(id, transactions.UpdateCommit)
		require.NoError(t, err)
		require.Equal(t, workflows.Committed, status.State)
		require.Equal(t, "ann: looked at the books", status.Decided)
		s.oneEffect(id)
		require.Equal(t, workflows.Committed, s.ended(id).State)
	})

	t.Run("rollback", func(t *testing.T) {
		id := parked(t)
		status, err := s.ask(id, transactions.UpdateRollback)
		require.NoError(t, err)
		require.Equal(t, workflows.RolledBack, status.State)
		require.Equal(t, workflows.RolledBack, s.ended(id).State)
	})

	t.Run("by signal", func(t *testing.T) {
		id := parked(t)
		require.NoError(t, s.temporal.SignalWorkflow(t.Context(), workflows.WorkflowID(s.at.Prefix, group, id), "", transactions.UpdateRollback,
			transactions.Request{Operator: "bob", Reason: "spring cleaning"}))
		require.Equal(t, "bob: spring cleaning", s.ended(id).Decided)
	})

	t.Run("recheck", func(t *testing.T) {
		id := parked(t)
		status, err := s.ask(id, transactions.UpdateRecheck)
		require.NoError(t, err)
		require.Equal(t, 3, status.Checks)
		until(t, "it is parked again", func() bool { return s.status(id).State == workflows.Parked })
		require.NoError(t, s.temporal.CancelWorkflow(t.Context(), workflows.WorkflowID(s.at.Prefix, group, id), ""))
		status = s.ended(id)
		require.Equal(t, workflows.RolledBack, status.State, "to cancel is to roll back")
	})
}

// TestOperatorAgainstTheDatabase: the database has the last word.
func TestOperatorAgainstTheDatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.producer()

	split, err := w.Begin(t.Context(), time.Hour, order(newID()))
	require.NoError(t, err)
	require.NoError(t, s.commitOrder(split))
	_, err = s.ask(split.ID(), transactions.UpdateRollback)
	require.ErrorContains(t, err, "already resolved")
	_, err = s.ask(split.ID(), transactions.UpdateRollback, func(r *transactions.Request) { r.Force = true })
	require.ErrorContains(t, err, "already resolved", "force is for a database that cannot be asked")
	status, err := s.ask(split.ID(), transactions.UpdateRecheck)
	require.NoError(t, err)
	require.Equal(t, workflows.Committed, status.State)
	s.oneEffect(split.ID())

	// An operator's rollback is as good as a check-back's: the application can no
	// longer commit.
	split, err = w.Begin(t.Context(), time.Hour, order(newID()))
	require.NoError(t, err)
	status, err = s.ask(split.ID(), transactions.UpdateRollback)
	require.NoError(t, err)
	require.Equal(t, workflows.RolledBack, status.State)
	require.ErrorIs(t, s.commitOrder(split), holdfast.ErrAlreadyResolved)

	// To cancel a transaction that is committed delivers it.
	split, err = w.Begin(t.Context(), time.Hour, order(newID()))
	require.NoError(t, err)
	require.NoError(t, s.commitOrder(split))
	require.NoError(t, s.temporal.CancelWorkflow(t.Context(), split.Receipt().WorkflowID, ""))
	require.Equal(t, workflows.Committed, s.ended(split.ID()).State)
	s.oneEffect(split.ID())
}

// TestTerminatedIsTakenUpAgain: a workflow that somebody terminated is started
// again by the Keeper, because its half message is still there.
func TestTerminatedIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.producer(func(o *worker.Options) { o.CheckAfter = time.Hour })
	split, err := w.Begin(t.Context(), time.Hour, order(newID()))
	require.NoError(t, err)
	require.NoError(t, s.temporal.TerminateWorkflow(t.Context(), split.Receipt().WorkflowID, "", "by mistake"))
	require.NoError(t, s.commitOrder(split))
	w.stop()
	s.producer(func(o *worker.Options) { o.CheckAfter = time.Second })
	s.oneEffect(split.ID())
	require.Equal(t, workflows.Committed, s.ended(split.ID()).State)
}

// TestWhatTheUIShows: summaries in the history, search attributes in the list.
func TestWhatTheUIShows(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	w := s.producer()
	id := newID()
	_, err := w.Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	s.ended(id)
	s.found(workflows.AttributeKey+" = 'K-"+id+"' AND "+workflows.AttributeTopic+" = 'order.placed'", id)

	summaries := map[string]string{}
	for _, e := range s.history(id).Events {
		var summary string
		if payload := e.GetUserMetadata().GetSummary(); payload != nil {
			require.NoError(t, converter.GetDefaultDataConverter().FromPayload(payload, &summary))
		}
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
			require.Equal(t, "transaction: order.placed K-"+id, summary)
		case enumspb.EVENT_TYPE_MARKER_RECORDED:
			summaries[summary] = ""
		case enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
			t.Error("the happy path upserts nothing")
		}
	}
	require.Contains(t, summaries, "half message for order.placed K-"+id+" → half queue of orders")
	require.Contains(t, summaries, "local transaction in the calling process")
	require.Contains(t, summaries, "deliver order.placed K-"+id)

	id = newID()
	_, err = w.Send(t.Context(), order(id), func(context.Context, *gorm.DB, *holdfast.Message) error { return errOops })
	require.ErrorIs(t, err, errOops)
	require.Contains(t, s.ended(id).Reason, errOops.Error())
}
