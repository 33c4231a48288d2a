// Package metrics shows the metrics of a process to Prometheus. It joins OpenTelemetry's
// exporter with a handler, so that a program needs no more than:
//
//	m, err := metrics.New()
//	...
//	w, err := worker.Open(ctx, "orders", func(o *worker.Options) { o.Meter = m.MeterProvider() })
//	...
//	http.Handle("/metrics", m)
//
// A program that has a meter provider of its own gives that to the worker, and does not need
// this package; neither does one that sends its metrics elsewhere. Which metrics there are,
// and what is normal, is in docs/monitoring.md.
package metrics

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
)

// Exporter shows metrics to Prometheus. It is an [http.Handler], and its methods may be
// called from many goroutines. It holds nothing that has to be closed.
type Exporter struct {
	registry *prometheus.Registry
	provider metric.MeterProvider
	handler  http.Handler
}

// New returns an Exporter with a registry of its own: it shows what its meter providers
// have, the Go runtime and the process (memory, file descriptors, CPU).
func New() (*Exporter, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	e := &Exporter{registry: registry, handler: promhttp.HandlerFor(registry,
		promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError})}
	var err error
	e.provider, err = e.With(nil)
	return e, err
}

// MeterProvider is what Options.Meter of package worker takes.
func (e *Exporter) MeterProvider() metric.MeterProvider { return e.provider }

// With returns a further meter provider, whose series have these labels, too. Give each
// worker of a process one: half queues are numbered in each group, so that two workers with
// one provider would write the same series. The labels differ from those of the others: of
// two series with the same labels a scrape shows one.
func (e *Exporter) With(labels map[string]string) (metric.MeterProvider, error) {
	reader, err := exporter.New(exporter.WithRegisterer(prometheus.WrapRegistererWith(labels, e.registry)),
		exporter.WithoutScopeInfo(), exporter.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("holdfast: make the exporter of metrics: %w", err)
	}
	return sdk.NewMeterProvider(sdk.WithReader(reader)), nil
}

// ServeHTTP answers a scrape, in Prometheus' text format or in OpenMetrics, as the request
// asks. Names of consumers, topics and sagas are in it: serve it where only Prometheus can
// reach it.
func (e *Exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.handler.ServeHTTP(w, r) }
