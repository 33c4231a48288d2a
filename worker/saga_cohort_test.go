package worker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// shared runs a worker with these sagas, which share workflows.
func (s *site) shared(defs ...saga.Definition) *running {
	s.t.Helper()
	o := s.options()
	o.Tuning.MaxSagaCohort = 48
	return s.runWith(o, func(w *worker.Worker) {
		for _, def := range defs {
			w.Saga(def)
		}
	})
}

// A saga that ends well at once has no workflow of its own.
func TestSagaInACohort(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"),
		saga.Choose("way", saga.Pick(func(journey) string { return "up" }),
			saga.Case("up", does("b", func(j *journey) error { j.Room = "12"; return nil })),
			saga.Otherwise(local("never"))),
		saga.Parallel("both", local("c"), seat()), local("d"))
	w := s.shared(def)
	s.participants(s.seats(nil))
	j := journey{ID: newID()}
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	got, err := h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, journey{ID: j.ID, Room: "12", Seat: "4a"}, got)
	require.False(t, s.hasWorkflow(h.ID()))
	require.Equal(t, []string{"do a", "do b", "do c", "do d"}, s.logged(s.orders, j.ID))
	require.Equal(t, []string{"do seat"}, s.logged(s.effects, j.ID))
}
