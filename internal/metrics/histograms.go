package metrics

import (
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"

	holdfast "github.com/holdfastmq/holdfast"
)

// The bounds of the histograms' buckets, in seconds: what a caller waits for, and what may
// take days.
var (
	shortTimes = []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60}
	longTimes  = []float64{.01, .05, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600}
)

// longest is what is taken for a time: clocks of different machines may be wrong.
const longest = 366 * 24 * time.Hour

func (m *Metrics) makeHistograms(meter metric.Meter) error {
	var errs []error
	histogram := func(name, description string, bounds []float64) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	m.sendTime = histogram("holdfast.transactions.duration",
		"How long callers of transactions waited for their answer, by lane and answer.", shortTimes)
	m.handlerTime = histogram("holdfast.consumer.duration",
		"How long tries of deliveries took, by how they ended.", shortTimes)
	m.effectTime = histogram("holdfast.consumer.delay",
		"From the begin of a transaction until its message was handled.", longTimes)
	m.sagaTime = histogram("holdfast.sagas.duration",
		"From the start of a saga until it ended in this process, by how.", longTimes)
	m.checkTime = histogram("holdfast.checkback.duration",
		"How long check-backs took, by what they found.", shortTimes)
	return errors.Join(errs...)
}

// Took records how long the caller of a transaction waited for its answer.
func (m *Metrics) Took(lane holdfast.Lane, answer string, d time.Duration) {
	m.record(m.sendTime, series{byLaneAnswer, string(lane), answer}, d)
}

// Tried records how long a try of a delivery took; class is empty for one that succeeded.
func (m *Metrics) Tried(consumer string, class holdfast.ErrorClass, d time.Duration) {
	if class == "" {
		class = "ok"
	}
	m.record(m.handlerTime, series{byConsumerClass, consumer, string(class)}, d)
}

// Effected records how long a message was on its way until its consumer had handled it, by
// the clocks of two machines: what cannot be is left out.
func (m *Metrics) Effected(consumer string, d time.Duration) {
	if d > longest {
		return
	}
	m.record(m.effectTime, series{byConsumer, consumer, ""}, max(d, 0))
}

// SagaTook records how long a saga took that ended here; state is completed or compensated.
func (m *Metrics) SagaTook(name, state string, d time.Duration) {
	if d > longest {
		return
	}
	m.record(m.sagaTime, series{bySagaState, name, state}, max(d, 0))
}

// CheckedBack records how long a check-back took, and what it found.
func (m *Metrics) CheckedBack(r holdfast.Resolution, d time.Duration) {
	m.record(m.checkTime, series{byResolution, r.String(), ""}, d)
}
