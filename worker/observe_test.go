package worker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// observed returns a worker that is not run, what it has alerted of, and its
// metrics.
func observed(t *testing.T) (*Worker, func() []holdfast.Alert, *meter) {
	t.Helper()
	reader := sdk.NewManualReader()
	w, err := New(Options{AMQPURL: "amqp://127.0.0.1:1", Meter: sdk.NewMeterProvider(sdk.WithReader(reader)),
		OnAlert: func(context.Context, holdfast.Alert) {}})
	require.NoError(t, err)
	w.Consume(Consumer{Name: "billing", Topics: []string{"order.placed"}, HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
	require.Empty(t, w.problems)
	alerts := func() (all []holdfast.Alert) {
		for len(w.alerts.hook.c) > 0 {
			a := (<-w.alerts.hook.c).alert
			require.False(t, a.At.IsZero())
			a.At = time.Time{}
			all = append(all, a)
		}
		return all
	}
	return w, alerts, &meter{t: t, metrics: w.metrics, reader: reader}
}

// TestBreakerAlerts: one when the consumer pauses, one when it goes on, none of
// the probes in between.
func TestBreakerAlerts(t *testing.T) {
	w, alerts, m := observed(t)
	const state = "holdfast.breaker.state consumer=billing"
	for _, step := range []struct {
		now  string
		want []holdfast.AlertKind
		is   int64
	}{
		{broker.BreakerClosed, nil, 0},
		{broker.BreakerOpen, []holdfast.AlertKind{holdfast.AlertBreakerOpened}, 2},
		{broker.BreakerProbing, nil, 1},
		{broker.BreakerOpen, nil, 2},
		{broker.BreakerProbing, nil, 1},
		{broker.BreakerClosed, []holdfast.AlertKind{holdfast.AlertBreakerClosed}, 0},
		{broker.BreakerOpen, []holdfast.AlertKind{holdfast.AlertBreakerOpened}, 2},
	} {
		w.observe(broker.Event{Kind: broker.EventBreaker, Consumer: "billing", Breaker: step.now, Reason: "the ledger is away"})
		var kinds []holdfast.AlertKind
		for _, a := range alerts() {
			kinds = append(kinds, a.Kind)
			require.Equal(t, "billing", a.Consumer)
			if a.Kind == holdfast.AlertBreakerOpened {
				require.Equal(t, "the ledger is away", a.Reason)
				require.NotEmpty(t, a.Remedy)
			}
		}
		require.Equal(t, step.want, kinds, step.now)
		require.Equal(t, step.is, m.values()[state], step.now)
	}
}

// TestBreakerThatStaysOpen: people are told once more, while it does not close, once.
func TestBreakerThatStaysOpen(t *testing.T) {
	w, alerts, m := observed(t)
	change := func(to string) {
		w.observe(broker.Event{Kind: broker.EventBreaker, Consumer: "billing", Breaker: to, Reason: "the ledger is away"})
	}
	w.breakerLong = time.Hour
	change(broker.BreakerOpen)
	change(broker.BreakerClosed)
	require.Len(t, alerts(), 2)
	w.breakerLong = time.Millisecond
	change(broker.BreakerOpen)
	for range 3 {
		change(broker.BreakerProbing)
		change(broker.BreakerOpen)
	}
	all := []holdfast.Alert{(<-w.alerts.hook.c).alert, (<-w.alerts.hook.c).alert}
	require.Equal(t, holdfast.AlertBreakerOpened, all[0].Kind)
	require.Equal(t, holdfast.AlertBreakerWaits, all[1].Kind)
	require.Equal(t, "billing", all[1].Consumer)
	require.Contains(t, all[1].Reason, "the ledger is away")
	require.NotEmpty(t, all[1].Remedy)
	change(broker.BreakerClosed)
	require.Equal(t, holdfast.AlertBreakerClosed, alerts()[0].Kind)
	require.EqualValues(t, 1, m.values()["holdfast.consumer.long_waits consumer=billing,why=breaker"])
	w.breakerLong = time.Hour
	change(broker.BreakerOpen)
	w.leaveBreakers()
	require.Nil(t, w.paused["billing"].late)
}

// TestLongRetriesAreToldOnce: each message counts, and of all that wait one alert tells.
func TestLongRetriesAreToldOnce(t *testing.T) {
	w, alerts, m := observed(t)
	now := time.Now()
	w.now = func() time.Time { return now }
	long := func(id string) {
		w.observe(broker.Event{Kind: broker.EventRetry, Consumer: "billing", MessageID: id, Long: true, Since: now, Delay: 15 * time.Minute,
			Attempts: 7, Reason: "the ledger is wrong"})
	}
	for range 3 {
		long("m-1")
		now = now.Add(time.Hour)
	}
	told := alerts()
	require.Len(t, told, 1)
	require.Equal(t, holdfast.AlertRetryWaits, told[0].Kind)
	require.Equal(t, "m-1", told[0].ID)
	require.Contains(t, told[0].Reason, "after 7 attempts, and its next try is in 15m0s: the ledger is wrong")
	require.Contains(t, told[0].Remedy, "retry-now")
	now = now.Add(episodeGap)
	long("m-2")
	require.Len(t, alerts(), 1, "another episode")
	require.EqualValues(t, 4, m.values()["holdfast.consumer.long_waits consumer=billing,why=retry"])
}

// TestLongDeliveriesAreToldOnce: as many as there may be while RabbitMQ is away.
func TestLongDeliveriesAreToldOnce(t *testing.T) {
	w, alerts, m := observed(t)
	for _, id := range []string{"1", "2", "3"} {
		steps{w}.Alert(holdfast.Alert{Kind: holdfast.AlertDeliveryWaits, Group: "orders", ID: id, Topic: "order.placed"})
	}
	require.Len(t, alerts(), 1)
	require.EqualValues(t, 3, m.values()["holdfast.transactions.long_waits topic=order.placed"])
}

// TestWhatEventsCount: each attempt by how it ended, retries and deaths.
func TestWhatEventsCount(t *testing.T) {
	w, alerts, m := observed(t)
	for _, e := range []broker.Event{
		{Kind: broker.EventAttemptFailed, Class: holdfast.ClassTimeout},
		{Kind: broker.EventLost, Class: holdfast.ClassLost},
		{Kind: broker.EventRetry, Class: holdfast.ClassTimeout},
		{Kind: broker.EventAttemptOK},
		{Kind: broker.EventDead, Class: holdfast.ClassPermanent},
	} {
		e.Consumer = "billing"
		w.observe(e)
	}
	require.Equal(t, map[string]int64{
		"holdfast.consumer.attempts class=timeout,consumer=billing": 1,
		"holdfast.consumer.attempts class=lost,consumer=billing":    1,
		"holdfast.consumer.attempts class=ok,consumer=billing":      1,
		"holdfast.consumer.retries consumer=billing":                1,
		"holdfast.dead_letters class=permanent,consumer=billing":    1,
	}, m.values())
	require.Empty(t, alerts(), "the workflow of a dead letter alerts")
}

// TestWhatIsParkedCounts: a dead letter that waits for an operator from the first
// is parked, too.
func TestWhatIsParkedCounts(t *testing.T) {
	w, alerts, m := observed(t)
	s := steps{w}
	s.Alert(holdfast.Alert{Kind: holdfast.AlertDeadLetter, Consumer: "billing", Class: holdfast.ClassError, Parked: true})
	s.Alert(holdfast.Alert{Kind: holdfast.AlertDeadLetter, Consumer: "billing", Class: holdfast.ClassError}) // its policy compensates
	s.Alert(holdfast.Alert{Kind: holdfast.AlertParked, Class: holdfast.ClassDropped, Parked: true})
	s.Alert(holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", Parked: true})
	s.Alert(holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", ID: "saga/orders/a/1", WorkflowID: "saga/orders/a/1/undo", Class: holdfast.ClassError, Parked: true})
	require.Len(t, alerts(), 5)
	require.Equal(t, map[string]int64{
		"holdfast.parked kind=dead-letter": 2,
		"holdfast.parked kind=transaction": 1,
		"holdfast.parked kind=saga":        1,
		"holdfast.alerts kind=dead-letter": 2,
		"holdfast.alerts kind=parked":      3,
	}, m.values())
}

// TestMetricsEndWithRun: also where it fails at once, or each new worker of a
// process that tries again would leave something with the meter provider.
func TestMetricsEndWithRun(t *testing.T) {
	w, _, m := observed(t)
	w.metrics.breaker("billing", breakerIsOpen)
	require.NotEmpty(t, m.values())
	w.Consume(Consumer{})
	require.ErrorIs(t, w.Run(t.Context()), holdfast.ErrInvalid)
	require.Empty(t, m.values())
}
