package worker_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// TestAlerts: people hear of what waits for them, and where.
func TestAlerts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	heard := &bells{}
	s.consuming(failing(s.effects, broken(errOops)))
	o := s.options()
	heard.hears(&o)
	w := s.runWith(o, func(w *worker.Worker) {
		w.Compensate(placed, func(context.Context, *gorm.DB, holdfast.Message, holdfast.Failure) error {
			return holdfast.Permanent(errOops)
		})
	})
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.NoError(t, err)

	alert := func(kind holdfast.AlertKind, id string) (a holdfast.Alert) {
		until(t, "the alert "+string(kind)+" about "+id, func() (ok bool) { a, ok = heard.about(kind, id); return ok })
		require.Equal(t, placed, a.Topic)
		require.Equal(t, "K-"+id, a.Key)
		require.Equal(t, group, a.Group)
		require.NotZero(t, a.At)
		require.NotEmpty(t, a.Remedy)
		return a
	}
	died := alert(holdfast.AlertDeadLetter, id)
	require.Equal(t, "payments", died.Consumer)
	require.Equal(t, s.deadID("payments", id), died.WorkflowID)
	require.Equal(t, holdfast.ClassError, died.Class)
	require.Contains(t, died.Reason, errOops.Error())

	// Compensation fails for good.
	require.Empty(t, heard.of(holdfast.AlertParked))
	status, err := s.askLetter("payments", id, workflows.UpdateCompensate)
	require.NoError(t, err)
	require.Equal(t, workflows.Parked, status.State)
	parked := alert(holdfast.AlertParked, id)
	require.Contains(t, parked.Reason, "compensation failed")
	require.Equal(t, s.deadID("payments", id), parked.WorkflowID)

	// It dies again, in a redelivery.
	_, err = s.askLetter("payments", id, deadletters.UpdateRedeliver, withAnswer)
	require.NoError(t, err)
	until(t, "another alert", func() bool { return len(heard.of(holdfast.AlertParked)) == 2 })
	require.Contains(t, heard.of(holdfast.AlertParked)[1].Reason, "in redelivery 1")
	require.Len(t, heard.of(holdfast.AlertDeadLetter), 1)
}

// TestAlertOfAParkedTransaction: one that has no consumer parks, too.
func TestAlertOfAParkedTransaction(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	heard := &bells{}
	w := s.producer(heard.hears)
	id := newID()
	_, err := w.Send(s.ctx(), order(id), insert)
	require.ErrorIs(t, err, holdfast.ErrUnroutable)
	for s.status(id).State != workflows.Parked {
		_, _ = s.ask(id, transactions.UpdateRecheck) // refused while a try is under way
	}
	until(t, "the alert", func() bool { return len(heard.of(holdfast.AlertParked)) > 0 })
	a := heard.of(holdfast.AlertParked)[0]
	require.Equal(t, id, a.ID)
	require.Equal(t, group, a.Group)
	require.Equal(t, workflows.WorkflowID(s.at.Prefix, group, id), a.WorkflowID)
	require.Contains(t, a.Reason, "no consumer is bound to "+placed)
	require.NotEmpty(t, a.Remedy)
}
