package metrics_test

import (
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfastmq/holdfast/metrics"
	"github.com/holdfastmq/holdfast/worker"
)

func scrape(t *testing.T, e *metrics.Exporter) string {
	t.Helper()
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	return answer.Body.String()
}

func count(t *testing.T, p metric.MeterProvider, name string) {
	t.Helper()
	c, err := p.Meter("test").Int64Counter(name)
	require.NoError(t, err)
	c.Add(t.Context(), 1, metric.WithAttributes(attribute.String("consumer", "a\"b\nc")))
}

// Names are as docs/monitoring.md says, and a label is what it is.
func TestExporter(t *testing.T) {
	e, err := metrics.New()
	require.NoError(t, err)
	count(t, e.MeterProvider(), "holdfast.dead_letters")
	h, err := e.MeterProvider().Meter("test").Float64Histogram("holdfast.sagas.duration", metric.WithUnit("s"))
	require.NoError(t, err)
	h.Record(t.Context(), 3)
	text := scrape(t, e)
	require.Contains(t, text, `holdfast_dead_letters_total{consumer="a\"b\nc"} 1`)
	require.Contains(t, text, `holdfast_sagas_duration_seconds_bucket{le="5"} 1`)
	require.Contains(t, text, "holdfast_sagas_duration_seconds_sum 3")
	require.Contains(t, text, "go_goroutines ")
}

// Two workers of a process do not write the same series.
func TestExporterOfTwo(t *testing.T) {
	e, err := metrics.New()
	require.NoError(t, err)
	for _, group := range []string{"orders", "invoices"} {
		p, err := e.With(map[string]string{"group": group})
		require.NoError(t, err)
		count(t, p, "holdfast.dead_letters")
	}
	text := scrape(t, e)
	for _, group := range []string{"orders", "invoices"} {
		require.Contains(t, text, `holdfast_dead_letters_total{consumer="a\"b\nc",group="`+group+`"} 1`)
	}
}

// Who uses the same labels twice loses the series of one of them, and not the scrape.
func TestExporterOfTwins(t *testing.T) {
	e, err := metrics.New()
	require.NoError(t, err)
	for range 2 {
		p, err := e.With(map[string]string{"group": "orders"})
		require.NoError(t, err)
		count(t, p, "holdfast.dead_letters")
	}
	text := scrape(t, e)
	require.Contains(t, text, `holdfast_dead_letters_total{consumer="a\"b\nc",group="orders"} 1`)
	require.Contains(t, text, "go_goroutines ")
}

// A worker whose metrics Prometheus can scrape.
func Example() {
	m, err := metrics.New()
	if err != nil {
		log.Fatal(err)
	}
	w, err := worker.New(worker.Options{Group: "orders", AMQPURL: "amqp://127.0.0.1", Meter: m.MeterProvider()})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/metrics", m)
	_ = w // register what it does, call Run, serve HTTP
}
