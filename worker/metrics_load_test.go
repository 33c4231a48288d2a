package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/metrics/metricstest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// TestDurationsAndLoad: what a transaction, its consumer and a saga took, and what is in use
// meanwhile.
func TestDurationsAndLoad(t *testing.T) {
	s := sagaSite(t)
	m := metricstest.New(t)
	inside, goOn := make(chan bool), make(chan bool)
	def, quick := travel(local("a")), quickTravel(local("a"))
	quick.Name = "quick"
	o := s.options()
	o.Meter = m.Provider
	consumer := payments(s.effects)
	consumer.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		inside <- true
		<-goOn
		return take(ctx, tx, m)
	}
	w := s.runWith(o, func(w *worker.Worker) {
		w.Saga(def)
		w.Saga(quick)
		w.Consume(consumer)
	})
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		m := plain(1)
		m.Lane = lane
		_, err := w.Send(s.ctx(), m, insert)
		require.NoError(t, err)
	}
	next(t, inside)
	next(t, inside)
	values := m.Values()
	require.EqualValues(t, 2, values["holdfast.consumer.busy consumer=payments"])
	require.Positive(t, values["holdfast.consumer.concurrency consumer=payments"])
	require.EqualValues(t, 2, values["holdfast.pool.in_use pool=payments"], "each has its transaction")
	require.EqualValues(t, 12, values["holdfast.pool.limit pool=orders"])
	require.Contains(t, values, "holdfast.publish.in_flight ")
	close(goOn)
	for _, def := range []saga.Saga[journey]{def, quick} {
		_, err := s.travels(w, def)
		require.NoError(t, err)
	}
	s.committedSplit(w, 2*time.Second) // and nobody ends it
	next(t, inside)
	for _, want := range []string{
		"holdfast.transactions.duration answer=commit,lane=traced", "holdfast.transactions.duration answer=commit,lane=express",
		"holdfast.sagas.duration saga=travel,state=completed", "holdfast.sagas.duration saga=quick,state=completed",
		"holdfast.checkback.duration resolution=commit",
	} {
		until(t, want, func() bool { return m.Values()[want] >= 1 })
	}
	for _, want := range []string{"holdfast.consumer.duration class=ok,consumer=payments", "holdfast.consumer.delay consumer=payments"} {
		until(t, want, func() bool { return m.Values()[want] == 3 })
	}
	until(t, "nothing is in work", func() bool { return m.Values()["holdfast.consumer.busy consumer=payments"] == 0 })
}
