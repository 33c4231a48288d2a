// Package observe makes metrics and alerts of what happens: to consumers and their
// breakers, to publishes, in workflows, and to callers. It decides what is worth an alert,
// and how often people are told of the same; packages metrics and alerts carry it out.
package observe

import (
	"errors"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/metrics"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/internal/telemetry"
	"github.com/holdfastmq/holdfast/workflows"
)

// Observer makes metrics and alerts of what happens in a process.
type Observer struct {
	metrics    *metrics.Metrics
	alerts     activities.Alerter
	group      string
	sagaParked func(id string) // tells the callers of a saga to look at it
	// Trace makes the spans of what happens to messages; nil: none.
	Trace *telemetry.Tracer

	Now         func() time.Time // this process's clock
	breakerLong time.Duration    // breakerWaits

	// consumers are the consumers and participants, and whether their breaker is open.
	// It is not changed once the first of them runs.
	consumers map[string]*standstill
	longWaits longWaits
}

// New returns the observer of a process of the group.
func New(group string, m *metrics.Metrics, alerts activities.Alerter, sagaParked func(id string)) *Observer {
	return &Observer{metrics: m, alerts: alerts, group: group, sagaParked: sagaParked, Now: time.Now,
		breakerLong: breakerWaits,
		consumers:   map[string]*standstill{}}
}

// Add registers a consumer or participant by its name.
func (o *Observer) Add(name string) {
	o.consumers[name] = new(standstill)
	o.metrics.Reserve(name)
}

// Has reports whether a consumer or participant of that name is registered.
func (o *Observer) Has(name string) bool { return o.consumers[name] != nil }

// Names are the names of all consumers and participants.
func (o *Observer) Names() []string { return slices.Collect(maps.Keys(o.consumers)) }

// Begins notes that a consumer or participant begins: its breaker is closed, and nobody has
// paused it.
func (o *Observer) Begins(name string) {
	o.metrics.Breaker(name, metrics.BreakerIsClosed)
	o.metrics.Paused(name, false)
}

// Event makes metrics and alerts of what happens to this process's consumers.
// It never blocks.
func (o *Observer) Event(e broker.Event) {
	switch e.Kind {
	case broker.EventAttemptOK:
		o.metrics.Attempted(e.Consumer, "")
		o.metrics.Tried(e.Consumer, "", e.Took)
		if !e.Sent.IsZero() {
			o.metrics.Effected(e.Consumer, o.Now().Sub(e.Sent))
		}
	case broker.EventAttemptFailed:
		o.metrics.Attempted(e.Consumer, e.Class)
		o.metrics.Tried(e.Consumer, e.Class, e.Took)
	case broker.EventLost:
		o.metrics.Attempted(e.Consumer, e.Class)
		o.settled("lost", e)
	case broker.EventRetry:
		o.metrics.Retried(e.Consumer)
		o.settled("retry", e)
		if e.Long {
			o.retryWaits(e)
		}
	case broker.EventDead:
		o.metrics.Died(e.Consumer, e.Class)
		o.settled("dead-letter", e)
	case broker.EventBreaker:
		o.breakerChanged(e)
	case broker.EventPause:
		o.pauseChanged(e)
	}
}

// pauseChanged tells when somebody pauses a consumer by hand, and when it goes on.
func (o *Observer) pauseChanged(e broker.Event) {
	o.metrics.Paused(e.Consumer, e.Pause != nil)
	if e.Pause == nil {
		o.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertConsumerResumed, Consumer: e.Consumer})
		return
	}
	a := holdfast.Alert{Kind: holdfast.AlertConsumerPaused, Consumer: e.Consumer, ID: e.Pause.ID, Reason: e.Pause.String(),
		Remedy: "it takes no message until `" + shell.Holdfast("consumers resume", e.Consumer) + "`"}
	if !e.Pause.Until.IsZero() {
		a.Remedy += ", or " + e.Pause.Until.UTC().Format(time.RFC3339)
	}
	o.alerts.Alert(a)
}

// settled makes a span of what a consumer did with a message.
func (o *Observer) settled(operation string, e broker.Event) {
	if o.Trace == nil {
		return
	}
	o.Trace.Settled(operation, e.Consumer, e.TxID, &holdfast.Message{ID: e.MessageID, Topic: e.Topic, Headers: e.Headers},
		e.Class, e.Reason, attribute.Int("holdfast.attempts", e.Attempts),
		attribute.Float64("holdfast.delay", e.Delay.Seconds()))
}

// breakerChanged tells when a consumer pauses and when it goes on, not of each
// probe in between.
func (o *Observer) breakerChanged(e broker.Event) {
	paused := o.consumers[e.Consumer]
	switch e.Breaker {
	case broker.BreakerOpen:
		o.metrics.Breaker(e.Consumer, metrics.BreakerIsOpen)
		paused.begin(o.breakerLong, func() {
			o.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertBreakerOpened, Consumer: e.Consumer, Reason: e.Reason,
				Remedy: "mend what the consumer depends on; it goes on by itself"})
		}, func(since time.Time) { o.breakerStays(e, since) })
	case broker.BreakerProbing:
		o.metrics.Breaker(e.Consumer, metrics.BreakerIsProbing)
	default:
		o.metrics.Breaker(e.Consumer, metrics.BreakerIsClosed)
		if paused.end() {
			o.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertBreakerClosed, Consumer: e.Consumer})
		}
	}
}

var _ activities.Alerter = (*Observer)(nil)

// Alert passes an alert of a workflow on.
func (o *Observer) Alert(a holdfast.Alert) {
	switch a.Kind {
	case holdfast.AlertWaiting:
		o.metrics.WaitedLong(a.Topic)
		if !o.longWaits.due(a.Group+" "+a.Topic, o.Now()) {
			return
		}
	case holdfast.AlertDeliveryWaits:
		o.metrics.DeliveryWaited(a.Topic)
		if !o.longWaits.begins("delivery "+a.Group, o.Now()) {
			return
		}
	}
	if a.Parked {
		kind := metrics.ParkedTransaction
		if id, _ := workflows.ParseID(a.WorkflowID); id.Kind == workflows.KindSaga {
			kind = metrics.ParkedSaga
			o.sagaParked(a.ID)
		} else if a.Consumer != "" || a.Class != "" {
			kind = metrics.ParkedDeadLetter
		}
		o.metrics.Parked(kind)
	}
	o.alerts.Alert(a)
}

// Counted counts the answer to the caller of a transaction, and how long it took from now
// on, and passes it on.
func (o *Observer) Counted(lane holdfast.Lane) func(holdfast.Receipt, error) (holdfast.Receipt, error) {
	began := time.Now()
	return func(receipt holdfast.Receipt, err error) (holdfast.Receipt, error) {
		answer := answerName(receipt, err)
		o.metrics.Answered(lane, answer)
		o.metrics.Took(lane, answer, time.Since(began))
		return receipt, err
	}
}

// answerName names what a caller was told: commit, rollback, pending, undecided, or
// Refused where nothing was run.
func answerName(receipt holdfast.Receipt, err error) string {
	switch {
	case err == nil:
		return receipt.Resolution.String()
	case errors.Is(err, holdfast.ErrUndecided):
		return "undecided"
	case errors.Is(err, holdfast.ErrDeliveryPending):
		return "pending"
	case errors.Is(err, holdfast.ErrRolledBack):
		return holdfast.Rollback.String()
	}
	return "refused"
}
