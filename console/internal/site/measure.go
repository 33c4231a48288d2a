package site

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// meterName is the instrumentation scope of Holdfast's metrics.
const meterName = "github.com/holdfastmq/holdfast"

// measureEvery is how often the metrics have the whole installation looked at, where they
// are read.
const measureEvery = time.Minute

// Measure makes metrics of what the first page shows. Reading them waits for nothing: they
// show the last look, and begin another one.
func (s *Site) Measure(p metric.MeterProvider) (metric.Registration, error) {
	meter := p.Meter(meterName)
	var errs []error
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	findings := gauge("holdfast.doctor.findings", "{finding}", "What holdfast doctor finds, by level.")
	unseen := gauge("holdfast.doctor.unseen", "{part}", "Parts of the installation that could not be looked at.")
	age := gauge("holdfast.doctor.age", "s", "For how long nobody has looked.")
	parked := gauge("holdfast.waiting", "{item}",
		"What waits for an operator now, by kind, as far as the console's first page shows it.")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	levels := map[text.Level]metric.MeasurementOption{}
	for _, l := range []text.Level{text.LevelWarning, text.LevelProblem} {
		levels[l] = metric.WithAttributeSet(attribute.NewSet(attribute.String("level", string(l))))
	}
	kind := func(name string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", name)))
	}
	transactions, letters, sagas := kind("transaction"), kind("dead-letter"), kind("saga")
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		all, at, ok := s.home.Peek(measureEvery)
		if !ok {
			return nil
		}
		// Nothing is no number where not all was looked at: an alert must not take it that
		// all is well again. Something is: there is at least so much.
		observe := func(g metric.Int64Observable, n int64, whole bool, of metric.MeasurementOption) {
			if whole || n > 0 {
				o.ObserveInt64(g, n, of)
			}
		}
		did := func(what string) bool { return !slices.Contains(all.blind, what) }
		n, examined := map[text.Level]int64{}, did(lookDoctor)
		for _, f := range all.Diagnosis.Findings {
			if f.Unseen() {
				examined = false
				continue
			}
			n[f.Level]++
		}
		for l, level := range levels {
			observe(findings, n[l], examined, level)
		}
		o.ObserveInt64(unseen, int64(len(all.Unseen)))
		o.ObserveInt64(age, int64(s.Now().Sub(at).Seconds()))
		observe(parked, int64(len(all.Parked)), did(lookTransactions) && all.MoreParked == "", transactions)
		observe(parked, int64(all.Letters.All), did(lookLetters), letters)
		observe(parked, int64(len(all.Sagas)), did(lookSagas) && all.MoreSagas == "", sagas)
		return nil
	}, findings, unseen, age, parked)
}
