package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

func TestWaitThatIsCutShort(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(does("a", func(j *journey) error { j.Room = "12"; return nil }), saga.Wait("approve", 0))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	until(t, "it waits", func() bool { return s.sagaStatus(h.ID()).State == core.StateWaiting })
	for _, h := range []*worker.SagaHandle[journey]{h, worker.JoinSaga(w.Worker, def, j.ID)} {
		var got journey
		until(t, "it says at which step it is", func() bool { // a busy server may not answer in time
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			var err error
			got, err = h.Wait(ctx)
			return stood(t, err, holdfast.ErrSagaPending).Step == "approve"
		})
		require.Equal(t, journey{ID: j.ID, Room: "12"}, got, "as it is then")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		_, err := h.Wait(over)
		stood(t, err, holdfast.ErrSagaPending)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := h.Wait(context.Background())
		waiting <- err
	}()
	w.stop()
	stood(t, next(t, waiting), holdfast.ErrSagaPending)
}

func TestSagaThatFailsToCompensate(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	var stuck atomic.Bool
	stuck.Store(true)
	def := travel(
		saga.Local("a", func(_ context.Context, tx *gorm.DB, j *journey) error { return write(tx, j.ID, "do a") },
			func(_ context.Context, tx *gorm.DB, j *journey) error {
				if stuck.Load() {
					return holdfast.Permanent(errOops)
				}
				return write(tx, j.ID, "undo a")
			}),
		local("b"), does("c", func(*journey) error { return saga.Refuse("closed") }))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaCompensationFailed)
	require.Equal(t, "a", e.Step)
	require.Contains(t, e.Reason, errOops.Error())
	require.Equal(t, []string{"do a", "do b", "undo b"}, s.logged(s.orders, j.ID))

	stuck.Store(false)
	_, err = s.steer(h.ID(), sagas.UpdateRetry)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	e = stood(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, "c", e.Step)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, s.logged(s.orders, j.ID))
}

func TestSagaCancelledInTemporal(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", 0))
	w := s.agency(def)
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	require.NoError(t, s.temporal.CancelWorkflow(s.ctx(), h.ID(), ""))
	j, err := h.Wait(s.ctx())
	stood(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, j.ID))
}

func TestSagaTerminatedInTemporal(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", 0))
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	until(t, "it waits", func() bool { return s.sagaStatus(h.ID()).State == core.StateWaiting })
	status := s.sagaStatus(h.ID())
	require.NoError(t, s.temporal.TerminateWorkflow(s.ctx(), h.ID(), "", "a wrong click"))
	_, err = h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaParked)
	require.Contains(t, e.Reason, "holdfast saga compensate "+h.ID())

	s.undo(h.ID(), j.ID, status, true)
	_, err = worker.JoinSaga(w.Worker, def, j.ID).Wait(s.ctx())
	stood(t, err, holdfast.ErrSagaCompensated)
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, j.ID))
}

// TestSagaStartedAgainAfterItsUndo: that one does not count for the new one.
func TestSagaStartedAgainAfterItsUndo(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(saga.Wait("approve", 0)) // no step row keeps it from going on
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	until(t, "it waits", func() bool { return s.sagaStatus(h.ID()).State == core.StateWaiting })
	status := s.sagaStatus(h.ID())
	require.NoError(t, s.temporal.TerminateWorkflow(s.ctx(), h.ID(), "", "a wrong click"))
	s.undo(h.ID(), j.ID, status, true)
	_, err = worker.JoinSaga(w.Worker, def, j.ID).Wait(s.ctx())
	stood(t, err, holdfast.ErrSagaCompensated)
	s.stands(w, def, j.ID, core.StateCompensated)

	again, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	require.NoError(t, again.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	_, err = worker.JoinSaga(w.Worker, def, j.ID).Wait(s.ctx())
	require.NoError(t, err)
	s.stands(w, def, j.ID, core.StateCompleted) // what was undone was the one before
}

// stands fails the test unless a saga's state is this one.
func (s *site) stands(w *running, def saga.Saga[journey], key, state string) {
	s.t.Helper()
	stands, err := worker.JoinSaga(w.Worker, def, key).State(s.ctx())
	require.NoError(s.t, err)
	require.Equal(s.t, state, stands.State)
}

// undo undoes a saga that has ended, as the CLI does.
func (s *site) undo(id, key string, status sagas.Status, terminated bool) {
	s.t.Helper()
	in := sagas.Input{ID: id, Group: group, Prefix: s.at.Prefix, Name: status.Name, Key: key, Resumed: &status,
		Undo: &sagas.UndoOf{Operator: "ann", Reason: "changed her mind", Terminated: terminated}}
	run, err := s.temporal.ExecuteWorkflow(s.ctx(), sagas.UndoOptions(s.at.Prefix, in), sagas.Name, in)
	require.NoError(s.t, err)
	require.NoError(s.t, run.Get(s.ctx(), nil))
}

func TestSagaUndoneAfterItsCompletion(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat(), local("b"))
	w := s.agency(def)
	s.participants(s.seats(nil))
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	require.NoError(t, err)
	var status sagas.Status
	require.NoError(t, s.temporal.GetWorkflow(s.ctx(), h.ID(), "").Get(s.ctx(), &status))

	s.undo(h.ID(), j.ID, status, false)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, s.logged(s.orders, j.ID))
	require.Equal(t, []string{"do seat", "undo seat"}, s.logged(s.effects, j.ID))
	_, err = worker.JoinSaga(w.Worker, def, j.ID).Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaCompensated)
	require.Contains(t, e.Reason, "changed her mind")
	s.stands(w, def, j.ID, core.StateCompensated)
}

// TestSagaWhoseVersionIsNowhere: a process without it answers so, visibly; one with
// it carries on.
func TestSagaWhoseVersionIsNowhere(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), saga.Wait("approve", 0), local("b"))
	old := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), old.Worker, def, j)
	require.NoError(t, err)
	until(t, "it waits", func() bool { return s.sagaStatus(h.ID()).State == core.StateWaiting })
	old.stop()

	newer := def
	newer.Version = 2
	w := s.agency(newer)
	joined := worker.JoinSaga(w.Worker, newer, j.ID)
	require.NoError(t, joined.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	until(t, "it has no worker", func() bool { return s.sagaStatus(h.ID()).State == core.StateNoWorker })
	require.Equal(t, []string{"do a"}, s.logged(s.orders, j.ID))

	s.agency(def, newer)
	_, err = joined.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
}
