package worker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestSagasWaitForParticipantsThatWait: one participant's database is away, the pool of
// another one is used up. Their sagas learn that, say so, and go on once it is over.
func TestSagasWaitForParticipantsThatWait(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	link := newRelay(t, hostOf(t, s.at.EffectsURL))
	one := s.seats(nil)
	one.DB = openDB(t, link.through(s.at.EffectsURL))
	one.Breaker.Pause, one.Breaker.MaxPause = 100*time.Millisecond, 200*time.Millisecond
	two := s.seats(nil)
	two.Topic, two.UndoTopic, two.Timeout, two.Tries = "berth.take", "berth.leave", 3*time.Second, 5
	two.Breaker.Off = true
	two.DB = openDB(t, s.at.EffectsURL)
	pool, err := two.DB.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	s.participants(one, two)

	link.refuse(true)
	link.cut()
	used, err := pool.Conn(s.ctx())
	require.NoError(t, err)
	flight, night := travel(local("a"), seat()), travel(local("a"), saga.Message("berth", "berth.take", "berth.leave"))
	night.Name = "night"
	w := s.agency(flight, night)
	j := journey{ID: newID()}
	h1, err := worker.StartSaga(s.ctx(), w.Worker, flight, j)
	require.NoError(t, err)
	h2, err := worker.StartSaga(s.ctx(), w.Worker, night, j)
	require.NoError(t, err)
	for id, of := range map[string]string{h1.ID(): "seat", h2.ID(): "berth"} {
		var status sagas.Status
		until(t, "the saga knows that "+of+" waits", func() bool {
			status = s.sagaStatus(id)
			return status.Waits[of].Who != ""
		})
		require.Equal(t, "participant "+of+".take", status.Waits[of].Who)
		require.Contains(t, status.Waits[of].Reason, "PostgreSQL")
		require.WithinDuration(t, time.Now(), status.Waits[of].Since, patience)
		require.Contains(t, status.Standing().Reason, "waits at participant "+of+".take since ")
	}

	link.refuse(false)
	require.NoError(t, used.Close())
	for _, h := range []*worker.SagaHandle[journey]{h1, h2} {
		_, err := h.Wait(s.ctx())
		require.NoError(t, err)
		status := s.sagaStatus(h.ID())
		require.Empty(t, status.Waits)
		for _, of := range []string{"seat", "berth"} {
			if at := status.Core.Steps[of]; at != nil {
				require.Equal(t, 1, at.Tries)
			}
		}
	}
	require.Equal(t, []string{"do seat", "do seat"}, s.logged(s.effects, j.ID))
}
