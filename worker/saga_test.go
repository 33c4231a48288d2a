package worker_test

import (
	"math"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

func TestSagaOfLocalSteps(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), does("b", func(j *journey) error { j.Room = "12"; return nil }), local("c"))
	w := s.agency(def)
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, "12", j.Room)
	require.Equal(t, []string{"do a", "do b", "do c"}, s.logged(s.orders, j.ID))
}

func TestSagaWithAParticipantElsewhere(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat(), local("c"))
	w := s.agency(def)
	s.participants(s.seats(nil))
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, "4a", j.Seat)
	require.Equal(t, []string{"do a", "do c"}, s.logged(s.orders, j.ID))
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, j.ID))
}

func TestSagaWithAParticipantInItsOwnProcess(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat())
	s.consumers["seat.take"] = true
	w := s.runWith(s.options(), func(w *worker.Worker) {
		w.Saga(def)
		w.Participate(s.seats(nil))
	})
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, "4a", j.Seat)
}

func TestSagaRefused(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat(), local("c"))
	w := s.agency(def)
	s.participants(s.seats(func(journey) error { return saga.Refuse("fully booked") }))
	j, err := s.travels(w, def)
	e := stood(t, err, holdfast.ErrSagaCompensated)
	require.True(t, e.Refused)
	require.Equal(t, "seat", e.Step)
	require.Equal(t, "fully booked", e.Reason)
	require.NotEmpty(t, j.ID, "the state comes with the error")
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, j.ID))
	require.Empty(t, s.logged(s.effects, j.ID), "what refused has no effect and is not undone")
}

func TestSagaFailed(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat(), does("c", func(*journey) error { return holdfast.Permanent(errOops) }))
	w := s.agency(def)
	s.participants(s.seats(nil))
	j, err := s.travels(w, def)
	e := stood(t, err, holdfast.ErrSagaCompensated)
	require.False(t, e.Refused)
	require.Equal(t, "c", e.Step)
	require.Contains(t, e.Reason, errOops.Error())
	require.Equal(t, []string{"do a", "undo a"}, s.logged(s.orders, j.ID))
	require.Equal(t, []string{"do seat", "undo seat"}, s.logged(s.effects, j.ID))
}

func TestSagaParkedAndRetried(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	var closed atomic.Bool
	closed.Store(true)
	def := travel(local("a"), does("b", func(*journey) error {
		if closed.Load() {
			return saga.Refuse("closed on Mondays")
		}
		return nil
	}).Park())
	w := s.agency(def)
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	got, err := h.Wait(s.ctx())
	e := stood(t, err, holdfast.ErrSagaParked)
	require.Equal(t, "b", e.Step)
	require.Contains(t, e.Reason, "closed on Mondays")
	require.True(t, e.Refused)
	require.Equal(t, j, got)

	closed.Store(false)
	_, err = s.steer(h.ID(), sagas.UpdateRetry)
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
}

// TestSagaParkedUnanswered: what is wrong with it is asked again, before its caller is told without.
func TestSagaParkedUnanswered(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(does("b", func(*journey) error { return saga.Refuse("closed on Mondays") }).Park())
	id := newID()
	h, err := worker.StartSaga(s.ctx(), s.agency(def).Worker, def, journey{ID: id})
	require.NoError(t, err)
	stood(t, wait(s, h), holdfast.ErrSagaParked)
	for unanswered, want := range map[int32]string{1: "step b: closed on Mondays", math.MaxInt32: "no process of its group says why: start one, and see `holdfast saga show "} {
		var questions atomic.Int32
		o := s.options()
		o.Temporal = s.dial(&cable{refuse: func(req any) bool {
			_, question := req.(*workflowservice.QueryWorkflowRequest)
			return question && questions.Add(1) <= unanswered
		}})
		w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
		e := stood(t, wait(s, worker.JoinSaga(w.Worker, def, id)), holdfast.ErrSagaParked)
		require.ErrorContains(t, e, want)
	}
}

func TestSagaWithTheSameKeyIsJoined(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), seat())
	w := s.agency(def)
	j := journey{ID: newID()}
	first, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	_, err = worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: j.ID, By: "other"})
	require.ErrorIs(t, err, holdfast.ErrDuplicate, "the same key, and something else")
	second, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	require.Equal(t, first.ID(), second.ID())
	s.participants(s.seats(nil))
	for _, h := range []*worker.SagaHandle[journey]{first, second, worker.JoinSaga(w.Worker, def, j.ID), first} {
		got, err := h.Wait(s.ctx())
		require.NoError(t, err)
		require.Equal(t, journey{ID: j.ID, Seat: "4a"}, got)
	}
	third, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	_, err = third.Wait(s.ctx())
	require.NoError(t, err, "it has ended, and is joined all the same")
	require.Equal(t, []string{"do a"}, s.logged(s.orders, j.ID))

	_, err = worker.JoinSaga(w.Worker, def, "nobody").Wait(s.ctx())
	require.ErrorIs(t, err, holdfast.ErrNotFound)
}
