package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
)

// TestSagaWhileTemporalIsAway: starts fail in time, replies wait, and so do those
// who wait.
func TestSagaWhileTemporalIsAway(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	link := newRelay(t, s.at.Temporal)
	o := s.options()
	o.Temporal = dialTemporal(t, link.address(), s.at.Namespace, nil)
	def := travel(local("a"), seat(), local("b"))
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	until(t, "the seat is asked for", func() bool { return s.sagaStatus(h.ID()).Core.Steps["seat"] != nil })
	type ending struct {
		j   journey
		err error
	}
	ended := make(chan ending, 1)
	go func() {
		j, err := h.Wait(s.ctx())
		ended <- ending{j, err}
	}()

	link.refuse(true)
	link.cut()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = worker.StartSaga(ctx, w.Worker, def, journey{ID: newID()})
	var away *holdfast.UnavailableError
	require.ErrorAs(t, err, &away)
	require.Equal(t, "Temporal", away.Part)

	b := s.broker()
	require.NoError(t, b.PublishSagaReply(s.ctx(), s.call(b, h.ID()), broker.SagaReply{Outcome: "done", Result: []byte(`"5c"`)}))
	refusals := link.refusals()
	until(t, "it is tried", func() bool { return link.refusals() > refusals+3 })
	link.refuse(false)
	end := next(t, ended)
	require.NoError(t, end.err)
	require.Equal(t, "5c", end.j.Seat)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
}

// TestSagaIsStartedOnce although the answer to its start was lost.
func TestSagaIsStartedOnce(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	c := &cable{}
	o := s.options()
	o.Temporal = s.dial(c)
	def := travel(local("a"), saga.Wait("approve", 0), local("b"))
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	j := journey{ID: newID()}
	c.loseNext()
	_, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	var away *holdfast.UnavailableError
	require.ErrorAs(t, err, &away)
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	until(t, "it waits", func() bool { return s.sagaStatus(h.ID()).State == core.StateWaiting })
	require.NoError(t, h.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	_, err = h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
}

// TestSagaElsewhere: a caller learns the end of a saga that ran in another process.
func TestSagaElsewhere(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"), does("b", func(j *journey) error { j.Room = "12"; return nil }))
	callers := s.options()
	callers.Temporal = s.dial(&cable{lazy: true})
	w := s.runWith(callers, func(w *worker.Worker) { w.Saga(def) })
	s.agency(def)
	for range 10 {
		j, err := s.travels(w, def)
		require.NoError(t, err)
		require.Equal(t, "12", j.Room)
		require.Equal(t, []string{"do a", "do b"}, s.logged(s.orders, j.ID))
	}
}
