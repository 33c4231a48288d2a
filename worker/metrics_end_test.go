package worker_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/metrics/metricstest"
	"github.com/holdfastmq/holdfast/worker"
)

// TestMetricsEndWithRun: also where it fails at once, or each new worker of a
// process that tries again would leave something with the meter provider.
func TestMetricsEndWithRun(t *testing.T) {
	m := metricstest.New(t)
	w, err := worker.New(worker.Options{AMQPURL: "amqp://127.0.0.1:1", Meter: m.Provider})
	require.NoError(t, err)
	w.Measure()
	require.NotEmpty(t, m.Values())
	w.Consume(worker.Consumer{})
	require.ErrorIs(t, w.Run(t.Context()), holdfast.ErrInvalid)
	require.Empty(t, m.Values())
}

// TestRegisteredNamesStay: what is registered has its own series, whatever names of others
// came before it.
func TestRegisteredNamesStay(t *testing.T) {
	m := metricstest.New(t)
	w, err := worker.New(worker.Options{AMQPURL: "amqp://127.0.0.1:1", Meter: m.Provider, Group: group,
		Lanes: map[string]holdfast.Lane{"in.lanes": holdfast.Traced}})
	require.NoError(t, err)
	w.Saga(travel(local("book"), seat()))
	w.Consume(worker.Consumer{})
	require.ErrorIs(t, w.Run(t.Context()), holdfast.ErrInvalid) // before it connects
	for i := range 300 {
		name := fmt.Sprint("theirs-", i)
		w.MeasureNames(name, name, name)
	}
	w.MeasureNames("travel", "seat.take", "in.lanes")
	values := m.Values()
	for _, own := range []string{"holdfast.sagas.started saga=travel", "holdfast.sagas.long_waits participant=seat.take",
		"holdfast.transactions.long_waits topic=in.lanes"} {
		require.EqualValues(t, 1, values[own], own)
	}
	require.Contains(t, values, "holdfast.sagas.started saga=other")
}
