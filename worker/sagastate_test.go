package worker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestSagaState: how a saga stands is told without waiting for it, and who waits in vain
// is told the same.
func TestSagaState(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	begun, open := make(chan string, 10), make(chan struct{})
	def := travel(does("pay", func(j *journey) error {
		begun <- j.ID
		<-open
		return nil
	}), saga.Wait("approval", time.Hour), does("ship", func(j *journey) error {
		if j.Price > 0 {
			return holdfast.Permanent(errOops)
		}
		return nil
	}).Retry(once).Park())
	w := s.agency(def)
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID(), Price: 1})
	require.NoError(t, err)
	pending := func(words ...string) {
		t.Helper()
		until(t, strings.Join(words, ", "), func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			_, err := h.Wait(ctx)
			e := stood(t, err, holdfast.ErrSagaPending)
			return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(e.Reason, word) })
		})
	}
	var stands holdfast.SagaStanding
	standing := func(state string) { // its workflow may take more than a second to answer
		t.Helper()
		until(t, state, func() bool {
			var err error
			stands, err = h.State(s.ctx())
			return err == nil && stands.State == state && !stands.Since.IsZero()
		})
	}
	next(t, begun)
	stands, err = h.State(s.ctx())
	require.NoError(t, err)
	require.Equal(t, core.StateRunning, stands.State)
	pending("under way")
	close(open)

	standing(core.StateWaiting)
	require.Equal(t, "approval", stands.Step)
	require.Equal(t, "an answer to step approval", stands.WaitsFor)
	require.WithinDuration(t, time.Now(), stands.Since, patience)
	pending("waits for approval", "since")
	until(t, "another handle says the same", func() bool {
		joined, err := worker.JoinSaga(w.Worker, def, journeyOf(h)).State(s.ctx())
		return err == nil && joined == stands
	})

	_, err = s.steer(h.ID(), sagas.UpdatePause)
	require.NoError(t, err)
	standing(core.StatePaused)
	require.Equal(t, "an operator, who resumes it", stands.WaitsFor)
	require.Contains(t, stands.Reason, "looked at the books")
	pending("paused", "looked at the books")
	_, err = s.steer(h.ID(), sagas.UpdateResume)
	require.NoError(t, err)

	require.NoError(t, h.Approve(s.ctx(), "approval", nil, worker.By{Operator: "ann", Reason: "fine"}))
	_, err = h.Wait(s.ctx())
	require.ErrorIs(t, err, holdfast.ErrSagaParked)
	standing(core.StateParked)
	require.Equal(t, holdfast.SagaStanding{ID: h.ID(), State: core.StateParked, Step: "ship", WaitsFor: "an operator", Since: stands.Since, Reason: errOops.Error()}, stands)

	for range 2 { // running, and ended
		until(t, "a second answer is told from the first", func() bool {
			err = h.Refuse(s.ctx(), "approval", worker.By{Operator: "bob", Reason: "no!"})
			return errors.Is(err, holdfast.ErrAnswered)
		})
		require.ErrorContains(t, err, "by ann (claimed) at ")
		require.ErrorIs(t, h.Refuse(s.ctx(), "ship", worker.By{Operator: "bob", Reason: "no!"}), holdfast.ErrInvalid)
		_, _ = s.steer(h.ID(), workflows.UpdateCompensate)
		_, err = h.Wait(s.ctx())
		require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
	}
	stands, err = h.State(s.ctx())
	require.NoError(t, err)
	require.Equal(t, core.StateCompensated, stands.State)
	require.Empty(t, stands.WaitsFor)

	unknown := worker.JoinSaga(w.Worker, def, newID())
	_, err = unknown.State(s.ctx())
	require.ErrorIs(t, err, holdfast.ErrNotFound)
	require.ErrorIs(t, unknown.Approve(s.ctx(), "approval", nil, worker.By{Operator: "ann", Reason: "fine"}), holdfast.ErrNotFound)
}

// journeyOf is the key of a saga.
func journeyOf(h *worker.SagaHandle[journey]) string {
	id, _ := workflows.ParseID(h.ID())
	return id.Key
}

// TestSagaStateAfterItsEnd: a saga that has completed, was undone since, or was
// terminated.
func TestSagaStateAfterItsEnd(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("pay"), saga.Wait("approval", time.Minute), saga.Wait("departure", time.Minute))
	w := s.agency(def)
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	require.NoError(t, h.Approve(s.ctx(), "approval", nil, worker.By{Operator: "ann", Reason: "fine"}))
	require.NoError(t, h.Approve(s.ctx(), "departure", nil, worker.By{Operator: "ann", Reason: "off"}))
	_, err = h.Wait(s.ctx())
	require.NoError(t, err)
	stands, err := h.State(s.ctx())
	require.NoError(t, err)
	require.Equal(t, core.StateCompleted, stands.State)
	require.ErrorIs(t, h.Approve(s.ctx(), "approval", nil, worker.By{Operator: "ann", Reason: "fine"}), holdfast.ErrAnswered)

	h, err = worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	require.NoError(t, h.Approve(s.ctx(), "approval", nil, worker.By{Operator: "ann", Reason: "fine"}))
	until(t, "it waits", func() bool { return s.sagaStatus(h.ID()).Step == "departure" })
	require.NoError(t, s.temporal.TerminateWorkflow(s.ctx(), h.ID(), "", "test"))
	stands, err = h.State(s.ctx())
	require.NoError(t, err)
	require.Equal(t, "terminated", stands.State)
	require.Contains(t, stands.Reason, "holdfast saga compensate")
	until(t, "its story is read", func() bool {
		return errors.Is(h.Approve(s.ctx(), "approval", nil, worker.By{Operator: "ann", Reason: "fine"}), holdfast.ErrAnswered)
	})
	err = h.Approve(s.ctx(), "departure", nil, worker.By{Operator: "ann", Reason: "off"})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "it is terminated: nothing is left to answer")
}

// TestSagaStateWhileNobodyAnswers: as much as Temporal knows by itself.
func TestSagaStateWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(saga.Wait("approval", time.Minute))
	w := s.agency(def)
	key := newID()
	id := workflows.SagaID(s.at.Prefix, group, def.Name, key)
	_, err := s.temporal.ExecuteWorkflow(s.ctx(), client.StartWorkflowOptions{ID: id, TaskQueue: s.at.Prefix + ".nobody",
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(workflows.AttributeState).ValueSet(core.StateParked))}, sagas.Name, sagas.Input{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = s.temporal.TerminateWorkflow(context.WithoutCancel(t.Context()), id, "", "the test has ended")
	})
	stands, err := worker.JoinSaga(w.Worker, def, key).State(s.ctx())
	require.NoError(t, err)
	require.Equal(t, holdfast.SagaStanding{ID: id, State: core.StateParked, WaitsFor: "an operator"}, stands)
}
