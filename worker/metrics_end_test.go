package worker_test

import (
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
