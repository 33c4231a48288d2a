// Package metrics counts what happens in a process, with OpenTelemetry: instruments and
// their attributes, made once, so that counting allocates nothing. Package worker makes
// one Metrics for each Worker; what counts gets it from there. It imports of this module
// only the types of what it counts.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	holdfast "github.com/holdfastmq/holdfast"
)

// meterName is the instrumentation scope of Holdfast's metrics.
const meterName = "github.com/holdfastmq/holdfast"

// maxSeries bounds the attribute sets that are kept, and maxValues the values of each
// attribute: names come from registrations, but also from dead letters. What is beyond
// that is Other, so that nobody can make a scrape grow without end.
const (
	maxSeries = 1000
	maxValues = 100
	// Other is the value of an attribute that had as many values as there may be.
	Other = "other"
)

// The kinds of what is parked.
const (
	ParkedTransaction = "transaction"
	ParkedDeadLetter  = "dead-letter"
	ParkedSaga        = "saga"
)

// Why a consumer's messages wait for long.
const (
	WaitsOnLadder  = "retry"
	WaitsOnBreaker = "breaker"
)

// breakerState is a breaker's state as a number.
type breakerState int64

const (
	BreakerIsClosed  breakerState = 0
	BreakerIsProbing breakerState = 1
	BreakerIsOpen    breakerState = 2
)

// Metrics counts what happens in a worker. Its methods may be called from many
// goroutines; counting what was counted before allocates nothing.
type Metrics struct {
	attempts, retries, deadLetters, parks, alerts, drops metric.Int64Counter
	sagaStarts, sagaEnds, sagaLate                       metric.Int64Counter
	answers, refusals, longWaits                         metric.Int64Counter
	consumerWaits, deliveryWaits                         metric.Int64Counter

	sendTime, handlerTime, effectTime, sagaTime, checkTime metric.Float64Histogram

	mu       sync.RWMutex
	options  map[series]options
	values   map[attribute.Key]map[string]bool // that each attribute has had
	breakers map[string]breakerState
	paused   map[string]int64 // 1: by hand
	temporal *int64           // nil: there is none
	watching metric.Registration
	keeping  *keeping
	load     *load
}

// options are the attributes of a series, for counters and for histograms.
type options struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// series is a set of attributes: two of a consumer, a class, a kind and so on,
// in the order of their instrument's keys.
type series struct {
	keys *[2]attribute.Key
	a, b string
}

// The keys of the instruments; a second one that is empty is left out.
var (
	byConsumer      = &[2]attribute.Key{"consumer"}
	byConsumerClass = &[2]attribute.Key{"consumer", "class"}
	byKind          = &[2]attribute.Key{"kind"}
	byToWhy         = &[2]attribute.Key{"to", "why"}
	byWhyConsumer   = &[2]attribute.Key{"why", "consumer"}
	byLaneAnswer    = &[2]attribute.Key{"lane", "answer"}
	bySaga          = &[2]attribute.Key{"saga"}
	bySagaState     = &[2]attribute.Key{"saga", "state"}
	byConsumerWhy   = &[2]attribute.Key{"consumer", "why"}
	byTopic         = &[2]attribute.Key{"topic"}
	byParticipant   = &[2]attribute.Key{"participant"}
)

// New makes the instruments with p, or with OpenTelemetry's global
// provider if p is nil. Call close at the end.
func New(p metric.MeterProvider) (*Metrics, error) {
	if p == nil {
		p = otel.GetMeterProvider()
	}
	meter := p.Meter(meterName)
	m := &Metrics{options: map[series]options{}, values: map[attribute.Key]map[string]bool{},
		breakers: map[string]breakerState{}, paused: map[string]int64{}}
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	m.answers = counter("holdfast.transactions", "{transaction}", "Answers to those who sent transactions, by lane.")
	m.refusals = counter("holdfast.publish.refused", "{publish}",
		"Publishes that RabbitMQ did not take, or not for each of the queues, and lost connections for publishing, by why.")
	m.attempts = counter("holdfast.consumer.attempts", "{attempt}", "Tries of deliveries, by how they ended.")
	m.retries = counter("holdfast.consumer.retries", "{message}", "Messages put on the retry ladder.")
	m.deadLetters = counter("holdfast.dead_letters", "{message}", "Messages that a consumer gave up.")
	m.parks = counter("holdfast.parked", "{item}",
		"Transactions, dead letters and sagas that began to wait for an operator.")
	m.alerts = counter("holdfast.alerts", "{alert}", "Alerts raised.")
	m.drops = counter("holdfast.alerts.dropped", "{alert}", "Alerts that did not reach the hook or the webhook.")
	m.sagaStarts = counter("holdfast.sagas.started", "{saga}", "Sagas that this process started.")
	m.sagaEnds = counter("holdfast.sagas.ended", "{saga}", "Sagas that ended in this process, by how.")
	m.longWaits = counter("holdfast.sagas.long_waits", "{wait}",
		"Waits of sagas for a participant's reply that became longer than a minute, by topic.")
	m.consumerWaits = counter("holdfast.consumer.long_waits", "{wait}",
		"Messages that wait on the retry ladder for longer than 10 minutes, and breakers that did not close for 5, by why.")
	m.deliveryWaits = counter("holdfast.transactions.long_waits", "{transaction}",
		"Committed transactions whose messages were not delivered within a minute, by topic.")
	m.sagaLate = counter("holdfast.sagas.late_replies", "{reply}",
		"Replies of participants that nobody waited for any more.")
	errs = append(errs, m.makeHistograms(meter))
	state, err := meter.Int64ObservableGauge("holdfast.breaker.state",
		metric.WithDescription("A consumer's circuit breaker: 0 closed, 1 probing, 2 open."))
	errs = append(errs, err)
	paused, err := meter.Int64ObservableGauge("holdfast.consumer.paused",
		metric.WithDescription("Whether somebody has paused a consumer by hand: 0 no, 1 yes."))
	errs = append(errs, err)
	temporal, err := meter.Int64ObservableGauge("holdfast.temporal.connected",
		metric.WithDescription("Whether this process works for Temporal: 0 until Temporal is reached, then 1."))
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	m.watching, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		m.mu.RLock()
		defer m.mu.RUnlock()
		for consumer, now := range m.breakers {
			o.ObserveInt64(state, int64(now), metric.WithAttributeSet(attribute.NewSet(byConsumer[0].String(consumer))))
		}
		for consumer, now := range m.paused {
			o.ObserveInt64(paused, now, metric.WithAttributeSet(attribute.NewSet(byConsumer[0].String(consumer))))
		}
		if m.temporal != nil {
			o.ObserveInt64(temporal, *m.temporal)
		}
		return nil
	}, state, paused, temporal)
	if err != nil {
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	if m.keeping, err = newKeeping(meter); err != nil {
		_ = m.watching.Unregister()
		return nil, err
	}
	if m.load, err = newLoad(m, meter); err != nil {
		_ = errors.Join(m.watching.Unregister(), m.keeping.watching.Unregister())
		return nil, err
	}
	return m, nil
}

// Close ends what is observed.
func (m *Metrics) Close() error {
	return errors.Join(m.watching.Unregister(), m.keeping.watching.Unregister(), m.load.watching.Unregister())
}

// Attempted counts a try of a delivery; class is empty for one that succeeded.
func (m *Metrics) Attempted(consumer string, class holdfast.ErrorClass) {
	if class == "" {
		class = "ok"
	}
	m.add(m.attempts, series{byConsumerClass, consumer, string(class)}, 1)
}

// Retried counts a message that its consumer tries again after a delay.
func (m *Metrics) Retried(consumer string) { m.add(m.retries, series{byConsumer, consumer, ""}, 1) }

// Died counts a message that its consumer gave up.
func (m *Metrics) Died(consumer string, class holdfast.ErrorClass) {
	m.add(m.deadLetters, series{byConsumerClass, consumer, string(class)}, 1)
}

// Breaker says what a consumer's breaker is now; until it is first called the
// consumer has none.
func (m *Metrics) Breaker(consumer string, now breakerState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.breakers[consumer] = now
}

// Paused says whether somebody has paused a consumer by hand; until it is first called the
// consumer has no such state.
func (m *Metrics) Paused(consumer string, yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused[consumer] = 0
	if yes {
		m.paused[consumer] = 1
	}
}

// Answered counts what a caller was told of a transaction.
func (m *Metrics) Answered(lane holdfast.Lane, answer string) {
	m.add(m.answers, series{byLaneAnswer, string(lane), answer}, 1)
}

// PublishRefused counts a publish that RabbitMQ did not take; consumer is whose queue
// refused it, if that is known.
func (m *Metrics) PublishRefused(why, consumer string) {
	m.add(m.refusals, series{byWhyConsumer, why, consumer}, 1)
}

// Connected says whether Temporal is reached; until it is first called there is
// none.
func (m *Metrics) Connected(yes bool) {
	var now int64
	if yes {
		now = 1
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.temporal = &now
}

// SagaStarted counts a saga that was started here.
func (m *Metrics) SagaStarted(name string) { m.add(m.sagaStarts, series{bySaga, name, ""}, 1) }

// WaitedLong counts a saga that waits for a participant for long.
func (m *Metrics) WaitedLong(topic string) { m.add(m.longWaits, series{byParticipant, topic, ""}, 1) }

// ConsumerWaited counts what waits for long because of a consumer: why is one of the words
// above.
func (m *Metrics) ConsumerWaited(consumer, why string) {
	m.add(m.consumerWaits, series{byConsumerWhy, consumer, why}, 1)
}

// DeliveryWaited counts a committed transaction that is not delivered for long.
func (m *Metrics) DeliveryWaited(topic string) { m.add(m.deliveryWaits, series{byTopic, topic, ""}, 1) }

// SagaEnded counts a saga that ended here; state is completed or compensated.
func (m *Metrics) SagaEnded(name, state string) {
	m.add(m.sagaEnds, series{bySagaState, name, state}, 1)
}

// SagaReplyLate counts a reply that nobody waited for.
func (m *Metrics) SagaReplyLate(participant string) {
	m.add(m.sagaLate, series{byParticipant, participant, ""}, 1)
}

// Parked counts what began to wait for an operator; kind is one of the words
// above.
func (m *Metrics) Parked(kind string) { m.add(m.parks, series{byKind, kind, ""}, 1) }

// Alert counts an alert that was raised.
func (m *Metrics) Alert(kind holdfast.AlertKind) {
	m.add(m.alerts, series{byKind, string(kind), ""}, 1)
}

// Dropped counts alerts that did not reach the hook or the webhook.
func (m *Metrics) Dropped(to, why string, n int) { m.add(m.drops, series{byToWhy, to, why}, int64(n)) }

func (m *Metrics) add(c metric.Int64Counter, s series, n int64) {
	c.Add(context.Background(), n, m.option(s).add...)
}

func (m *Metrics) record(h metric.Float64Histogram, s series, d time.Duration) {
	h.Record(context.Background(), d.Seconds(), m.option(s).record...)
}

// option returns the attributes of s, made once.
func (m *Metrics) option(s series) options {
	m.mu.RLock()
	o, known := m.options[s]
	m.mu.RUnlock()
	if known {
		return o
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	attributes := []attribute.KeyValue{s.keys[0].String(m.bounded(s.keys[0], s.a))}
	if s.keys[1] != "" {
		attributes = append(attributes, s.keys[1].String(m.bounded(s.keys[1], s.b)))
	}
	set := metric.WithAttributeSet(attribute.NewSet(attributes...))
	o = options{[]metric.AddOption{set}, []metric.RecordOption{set}}
	if len(m.options) < maxSeries {
		m.options[s] = o
	}
	return o
}

// Reserve has a consumer keep its name in the metrics, whatever other names come later.
func (m *Metrics) Reserve(consumer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bounded(byConsumer[0], consumer)
}

// ReserveSaga has a saga keep its name in the metrics, and the topics of the participants that
// it calls theirs.
func (m *Metrics) ReserveSaga(name string, topics ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bounded(bySaga[0], name)
	for _, topic := range topics {
		m.bounded(byParticipant[0], topic)
	}
}

// ReserveTopic has a topic of transactions keep its name in the metrics.
func (m *Metrics) ReserveTopic(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bounded(byTopic[0], topic)
}

// bounded is a value of an attribute, or Other where that has too many. m.mu is held.
func (m *Metrics) bounded(key attribute.Key, value string) string {
	had := m.values[key]
	switch {
	case had[value]:
		return value
	case len(had) >= maxValues:
		return Other
	case had == nil:
		had = map[string]bool{}
		m.values[key] = had
	}
	had[value] = true
	return value
}
