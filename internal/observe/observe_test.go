package observe

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/metrics"
	"github.com/holdfastmq/holdfast/internal/metrics/metricstest"
)

// bells are the alerts that were raised.
type bells chan holdfast.Alert

func (b bells) Alert(a holdfast.Alert) { b <- a }

// observed returns an observer of the consumer billing, what it has alerted of, and its
// metrics.
func observed(t *testing.T) (*Observer, func() []holdfast.Alert, *metricstest.Meter) {
	t.Helper()
	m := metricstest.New(t)
	counts, err := metrics.New(m.Provider)
	require.NoError(t, err)
	raised := make(bells, 100)
	o := New("orders", counts, raised, func(string) {})
	o.Add("billing")
	alerts := func() (all []holdfast.Alert) {
		for len(raised) > 0 {
			all = append(all, <-raised)
		}
		return all
	}
	return o, alerts, m
}

// TestBreakerAlerts: one when the consumer pauses, one when it goes on, none of
// the probes in between.
func TestBreakerAlerts(t *testing.T) {
	o, alerts, m := observed(t)
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
		o.Event(broker.Event{Kind: broker.EventBreaker, Consumer: "billing", Breaker: step.now, Reason: "the ledger is away"})
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
		require.Equal(t, step.is, m.Values()[state], step.now)
	}
}

// TestBreakerThatStaysOpen: people are told once more, while it does not close, once.
func TestBreakerThatStaysOpen(t *testing.T) {
	o, alerts, m := observed(t)
	change := func(to string) {
		o.Event(broker.Event{Kind: broker.EventBreaker, Consumer: "billing", Breaker: to, Reason: "the ledger is away"})
	}
	o.breakerLong = time.Hour
	change(broker.BreakerOpen)
	change(broker.BreakerClosed)
	require.Len(t, alerts(), 2)
	o.breakerLong = time.Millisecond
	change(broker.BreakerOpen)
	for range 3 {
		change(broker.BreakerProbing)
		change(broker.BreakerOpen)
	}
	raised := o.alerts.(bells)
	all := []holdfast.Alert{<-raised, <-raised}
	require.Equal(t, holdfast.AlertBreakerOpened, all[0].Kind)
	require.Equal(t, holdfast.AlertBreakerWaits, all[1].Kind)
	require.Equal(t, "billing", all[1].Consumer)
	require.Contains(t, all[1].Reason, "the ledger is away")
	require.NotEmpty(t, all[1].Remedy)
	change(broker.BreakerClosed)
	require.Equal(t, holdfast.AlertBreakerClosed, alerts()[0].Kind)
	require.EqualValues(t, 1, m.Values()["holdfast.consumer.long_waits consumer=billing,why=breaker"])
	o.breakerLong = time.Hour
	change(broker.BreakerOpen)
	o.LeaveBreakers()
	require.Nil(t, o.consumers["billing"].late)
}

// TestLongRetriesAreToldOnce: each message counts, and of all that wait one alert tells.
func TestLongRetriesAreToldOnce(t *testing.T) {
	o, alerts, m := observed(t)
	now := time.Now()
	o.Now = func() time.Time { return now }
	long := func(id string) {
		o.Event(broker.Event{Kind: broker.EventRetry, Consumer: "billing", MessageID: id, Long: true, Since: now,
			Delay:    15 * time.Minute,
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
	require.EqualValues(t, 4, m.Values()["holdfast.consumer.long_waits consumer=billing,why=retry"])
}

// TestLongDeliveriesAreToldOnce: as many as there may be while RabbitMQ is away.
func TestLongDeliveriesAreToldOnce(t *testing.T) {
	o, alerts, m := observed(t)
	for _, id := range []string{"1", "2", "3"} {
		o.Alert(holdfast.Alert{Kind: holdfast.AlertDeliveryWaits, Group: "orders", ID: id, Topic: "order.placed"})
	}
	require.Len(t, alerts(), 1)
	require.EqualValues(t, 3, m.Values()["holdfast.transactions.long_waits topic=order.placed"])
}

// TestWhatEventsCount: each attempt by how it ended, retries and deaths.
func TestWhatEventsCount(t *testing.T) {
	o, alerts, m := observed(t)
	for _, e := range []broker.Event{
		{Kind: broker.EventAttemptFailed, Class: holdfast.ClassTimeout},
		{Kind: broker.EventLost, Class: holdfast.ClassLost},
		{Kind: broker.EventRetry, Class: holdfast.ClassTimeout},
		{Kind: broker.EventAttemptOK},
		{Kind: broker.EventDead, Class: holdfast.ClassPermanent},
	} {
		e.Consumer = "billing"
		if e.Kind != broker.EventRetry {
			e.Sent = time.Now().Add(-time.Second)
		}
		o.Event(e)
	}
	require.Equal(t, map[string]int64{
		"holdfast.consumer.attempts class=timeout,consumer=billing": 1,
		"holdfast.consumer.attempts class=lost,consumer=billing":    1,
		"holdfast.consumer.attempts class=ok,consumer=billing":      1,
		"holdfast.consumer.retries consumer=billing":                1,
		"holdfast.dead_letters class=permanent,consumer=billing":    1,
		"holdfast.consumer.duration class=ok,consumer=billing":      1,
		"holdfast.consumer.duration class=timeout,consumer=billing": 1,
		"holdfast.consumer.delay consumer=billing":                  1,
	}, m.Values())
	require.Empty(t, alerts(), "the workflow of a dead letter alerts")
}

// TestWhatIsParkedCounts: a dead letter that waits for an operator from the first
// is parked, too.
func TestWhatIsParkedCounts(t *testing.T) {
	o, alerts, m := observed(t)
	o.Alert(holdfast.Alert{Kind: holdfast.AlertDeadLetter, Consumer: "billing", Class: holdfast.ClassError, Parked: true})
	o.Alert(holdfast.Alert{Kind: holdfast.AlertDeadLetter, Consumer: "billing",
		Class: holdfast.ClassError}) // its policy compensates
	o.Alert(holdfast.Alert{Kind: holdfast.AlertParked, Class: holdfast.ClassDropped, Parked: true})
	o.Alert(holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", Parked: true})
	o.Alert(holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", ID: "saga/orders/a/1",
		WorkflowID: "saga/orders/a/1/undo", Class: holdfast.ClassError, Parked: true})
	require.Len(t, alerts(), 5)
	require.Equal(t, map[string]int64{
		"holdfast.parked kind=dead-letter": 2,
		"holdfast.parked kind=transaction": 1,
		"holdfast.parked kind=saga":        1,
	}, m.Values())
}

// TestRefusalsAreTold: people are told of the first one of a kind, all are counted.
func TestRefusalsAreTold(t *testing.T) {
	o, alerts, m := observed(t)
	for why, kind := range map[string]holdfast.AlertKind{broker.RefusedFull: holdfast.AlertQueueFull,
		broker.RefusedUnknown: holdfast.AlertQueueFull,
		broker.RefusedLimit:   holdfast.AlertPublishRefused, broker.RefusedClosing: holdfast.AlertPublishRefused,
		broker.RefusedForbidden: holdfast.AlertPublishRefused} {
		for n := range 3 {
			o.Refused(broker.Refusal{Why: why, Consumer: "c", Message: "m", Reason: "because", First: n == 0}, false)
		}
		all := alerts()
		require.Len(t, all, 1, why)
		a := all[0]
		require.Equal(t, []any{kind, "c", "m", "because"}, []any{a.Kind, a.Consumer, a.ID, a.Reason}, why)
		require.NotEmpty(t, a.Remedy)
		require.EqualValues(t, 3, m.Values()["holdfast.publish.refused consumer=c,why="+why])
	}
	o.Refused(broker.Refusal{Why: broker.RefusedFull, First: true}, true)
	require.Empty(t, alerts(), "it was an alert that was refused")
}

func TestAnswerName(t *testing.T) {
	for want, row := range map[string]struct {
		r   holdfast.Resolution
		err error
	}{
		"commit":    {holdfast.Commit, nil},
		"rollback":  {holdfast.Rollback, fmt.Errorf("%w: no", holdfast.ErrRolledBack)},
		"pending":   {holdfast.Commit, holdfast.ErrDeliveryPending},
		"undecided": {holdfast.Unknown, fmt.Errorf("%w: a", holdfast.ErrUndecided)},
		"refused":   {holdfast.Rollback, holdfast.ErrNotStored},
	} {
		require.Equal(t, want, answerName(holdfast.Receipt{Resolution: row.r}, row.err))
	}
}

// The attributes of an answer are made once.
func TestCountingAnswersIsCheap(t *testing.T) {
	m, err := metrics.New(noop.NewMeterProvider())
	require.NoError(t, err)
	o := New("orders", m, nil, nil)
	send := func() { _, _ = o.Counted(holdfast.Express)(holdfast.Receipt{Resolution: holdfast.Commit}, nil) }
	send()
	require.Zero(t, testing.AllocsPerRun(100, send))
	require.NoError(t, m.Close())
}
