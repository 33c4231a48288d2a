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
	return &Meter{t: t, reader: reader, Provider: sdk.NewMeterProvider(sdk.WithReader(reader),
		sdk.WithCardinalityLimit(0))} // what is bounded, Holdfast bounds
}

// Values returns every series that has a value, such as
// "holdfast.consumer.attempts class=ok,consumer=billing"; of a histogram, how many values
// were recorded, and of what is counted in seconds, whole ones.
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

// Lines is how many lines a scrape by Prometheus has.
func (m *Meter) Lines() (n int) {
	m.t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(m.t, m.reader.Collect(m.t.Context(), &all))
	for _, scope := range all.ScopeMetrics {
		for _, one := range scope.Metrics {
			each := 1
			if h, is := one.Data.(metricdata.Histogram[float64]); is {
				each = len(h.DataPoints[0].Bounds) + 3 // the last bucket, the sum, the count
			}
			n += each * len(points(m.t, one))
		}
	}
	return n
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
	case metricdata.Sum[float64]:
		require.True(t, d.IsMonotonic, m.Name)
		require.Equal(t, "s", m.Unit, m.Name)
		out := make([]metricdata.DataPoint[int64], len(d.DataPoints))
		for i, p := range d.DataPoints {
			out[i] = metricdata.DataPoint[int64]{Attributes: p.Attributes, Value: int64(p.Value)}
		}
		return out
	case metricdata.Histogram[float64]:
		require.Equal(t, "s", m.Unit, m.Name)
		out := make([]metricdata.DataPoint[int64], len(d.DataPoints))
		for i, p := range d.DataPoints {
			out[i] = metricdata.DataPoint[int64]{Attributes: p.Attributes, Value: int64(p.Count)}
		}
		return out
	}
	require.Fail(t, "another kind of metric", "%s is %T", m.Name, m.Data)
	return nil
}
