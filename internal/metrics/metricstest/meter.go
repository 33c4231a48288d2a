// Package metricstest reads the metrics of a meter provider in tests.
package metricstest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Meter is a meter provider whose values can be read.
type Meter struct {
	Provider metric.MeterProvider

	t      testing.TB
	reader *sdk.ManualReader
}

// New returns a meter without values.
func New(t testing.TB) *Meter {
	t.Helper()
	reader := sdk.NewManualReader()
	return &Meter{t: t, reader: reader, Provider: sdk.NewMeterProvider(sdk.WithReader(reader))}
}

// Values returns every series that has a value, such as
// "holdfast.consumer.attempts class=ok,consumer=billing".
func (m *Meter) Values() map[string]int64 {
	m.t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(m.t, m.reader.Collect(m.t.Context(), &all))
	out := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		require.Equal(m.t, "github.com/holdfastmq/holdfast", scope.Scope.Name)
		for _, one := range scope.Metrics {
			require.NotEmpty(m.t, one.Description)
			for _, p := range points(m.t, one) {
				out[one.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
			}
		}
	}
	return out
}

func points(t testing.TB, m metricdata.Metrics) []metricdata.DataPoint[int64] {
	t.Helper()
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		require.True(t, d.IsMonotonic, m.Name)
		require.NotEmpty(t, m.Unit, m.Name)
		return d.DataPoints
	case metricdata.Gauge[int64]:
		return d.DataPoints
	}
	require.Fail(t, "another kind of metric", "%s is %T", m.Name, m.Data)
	return nil
}
