package metrics

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric/noop"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/metrics/metricstest"
)

// meter is metrics whose values are read by hand.
type meter struct {
	*metricstest.Meter
	*Metrics
}

func newMeter(t testing.TB) meter {
	t.Helper()
	values := metricstest.New(t)
	m, err := New(values.Provider)
	require.NoError(t, err)
	return meter{values, m}
}

func TestMetrics(t *testing.T) {
	m := newMeter(t)
	require.Empty(t, m.Values())

	m.Attempted("billing", "")
	m.Attempted("billing", "")
	m.Attempted("billing", holdfast.ClassPanic)
	m.Attempted("shipping", "")
	m.Retried("billing")
	m.Died("billing", holdfast.ClassPermanent)
	m.Breaker("billing", BreakerIsOpen)
	m.Breaker("shipping", BreakerIsClosed)
	m.Parked(ParkedTransaction)
	m.Parked(ParkedDeadLetter)
	m.Alert(holdfast.AlertParked)
	m.Dropped("hook", "full", 3)
	m.SagaStarted("payment")
	m.SagaEnded("payment", "compensated")
	m.SagaReplyLate("stock")
	m.Kept(broker.KeeperStats{Queue: 2, Undecided: 7})
	m.Kept(broker.KeeperStats{Queue: 1, Undecided: 5, Oldest: time.Now().Add(-time.Hour)})
	m.HandedOver(holdfast.Express, 200, nil)
	m.HandedOver("", 1, errors.New("Temporal is away"))
	m.Recovered([]activities.LocalResult{{Resolution: holdfast.Commit}, {Resolution: holdfast.Commit}, {}})
	m.Answered(holdfast.Express, "commit")
	m.Connected(false)
	m.Connected(true)
	m.Took(holdfast.Express, "commit", time.Millisecond)
	m.Tried("billing", "", time.Second)
	m.Tried("billing", holdfast.ClassTimeout, time.Minute)
	m.Effected("billing", -time.Second)
	m.Effected("billing", 2*longest)
	m.SagaTook("payment", "completed", time.Hour)
	m.SagaTook("payment", "completed", 2*longest)
	m.CheckedBack(holdfast.Commit, time.Second)
	m.Watch(func() Load {
		return Load{Publishes: 4, Sagas: 9, MaxSagas: 1000, Handlers: []HandlerLoad{{"billing", 3, 16}}, Pools: []PoolLoad{
			{Name: "orders", InUse: 2, Limit: 10, Waits: 5, Waited: 90 * time.Second}, {Name: "billing"}}}
	})
	want := map[string]int64{
		"holdfast.consumer.attempts class=ok,consumer=billing":      2,
		"holdfast.consumer.attempts class=panic,consumer=billing":   1,
		"holdfast.consumer.attempts class=ok,consumer=shipping":     1,
		"holdfast.consumer.retries consumer=billing":                1,
		"holdfast.dead_letters class=permanent,consumer=billing":    1,
		"holdfast.breaker.state consumer=billing":                   2,
		"holdfast.breaker.state consumer=shipping":                  0,
		"holdfast.parked kind=transaction":                          1,
		"holdfast.parked kind=dead-letter":                          1,
		"holdfast.alerts kind=parked":                               1,
		"holdfast.alerts.dropped to=hook,why=full":                  3,
		"holdfast.sagas.started saga=payment":                       1,
		"holdfast.sagas.ended saga=payment,state=compensated":       1,
		"holdfast.sagas.late_replies participant=stock":             1,
		"holdfast.halves.undecided queue=1":                         5,
		"holdfast.halves.undecided queue=2":                         7,
		"holdfast.halves.oldest_age queue=2":                        0,
		"holdfast.halves.handed_over lane=express":                  200,
		"holdfast.halves.hand_over_failures lane=traced":            1,
		"holdfast.recovery.answers resolution=commit":               2,
		"holdfast.recovery.answers resolution=unknown":              1,
		"holdfast.transactions answer=commit,lane=express":          1,
		"holdfast.temporal.connected ":                              1,
		"holdfast.transactions.duration answer=commit,lane=express": 1,
		"holdfast.consumer.duration class=ok,consumer=billing":      1,
		"holdfast.consumer.duration class=timeout,consumer=billing": 1,
		"holdfast.consumer.delay consumer=billing":                  1,
		"holdfast.sagas.duration saga=payment,state=completed":      1,
		"holdfast.checkback.duration resolution=commit":             1,
		"holdfast.publish.in_flight ":                               4,
		"holdfast.consumer.busy consumer=billing":                   3,
		"holdfast.consumer.concurrency consumer=billing":            16,
		"holdfast.sagas.busy ":                                      9,
		"holdfast.sagas.concurrency ":                               1000,
		"holdfast.pool.in_use pool=orders":                          2,
		"holdfast.pool.in_use pool=billing":                         0,
		"holdfast.pool.limit pool=orders":                           10,
		"holdfast.pool.waits pool=orders":                           5,
		"holdfast.pool.waits pool=billing":                          0,
		"holdfast.pool.wait_time pool=orders":                       90,
		"holdfast.pool.wait_time pool=billing":                      0,
	}
	values := func() map[string]int64 {
		all := m.Values()
		const age = "holdfast.halves.oldest_age queue=1"
		require.GreaterOrEqual(t, all[age], int64(3600))
		delete(all, age)
		return all
	}
	require.Equal(t, want, values())

	m.Breaker("billing", BreakerIsProbing)
	want["holdfast.breaker.state consumer=billing"] = 1
	require.Equal(t, want, values(), "the state is there at every reading")

	require.NoError(t, m.Close())
	require.NotContains(t, m.Values(), "holdfast.breaker.state consumer=billing")
}

func TestMetricsConcurrently(t *testing.T) {
	m := newMeter(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			consumer := fmt.Sprint("c", i%2)
			for range 100 {
				m.Attempted(consumer, "")
				m.Breaker(consumer, BreakerIsOpen)
			}
			m.Values()
		})
	}
	wg.Wait()
	require.EqualValues(t, 400, m.Values()["holdfast.consumer.attempts class=ok,consumer=c0"])
	require.EqualValues(t, 400, m.Values()["holdfast.consumer.attempts class=ok,consumer=c1"])
}

// Counting what was counted before makes no attribute sets, and what is kept of
// them is bounded, whatever names come.
func TestMetricsAreCheap(t *testing.T) {
	m, err := New(noop.NewMeterProvider())
	require.NoError(t, err)
	m.Attempted("billing", "")
	require.Zero(t, testing.AllocsPerRun(100, func() { m.Attempted("billing", "") }))
	for i := range 2 * maxSeries {
		m.Died(fmt.Sprint("c", i), holdfast.ClassError)
	}
	require.Len(t, m.options, maxSeries)
	require.NoError(t, m.Close())
}

func TestMetricsOfTheGlobalProvider(t *testing.T) {
	before := otel.GetMeterProvider()
	m := metricstest.New(t)
	otel.SetMeterProvider(m.Provider)
	defer otel.SetMeterProvider(before)
	global, err := New(nil)
	require.NoError(t, err)
	global.Alert(holdfast.AlertDeadLetter)
	require.EqualValues(t, 1, m.Values()["holdfast.alerts kind=dead-letter"])
	require.NoError(t, global.Close())
}

// Whatever names come, a scrape stays small, and the process's own consumers keep theirs.
func TestSeriesAreBounded(t *testing.T) {
	m := newMeter(t)
	m.Reserve("billing")
	m.ReserveSaga("travel", "seat.take", "room.take")
	m.ReserveTopic("order.placed")
	classes := []holdfast.ErrorClass{"", holdfast.ClassError, holdfast.ClassTimeout, holdfast.ClassPanic, holdfast.ClassLost,
		holdfast.ClassPermanent, holdfast.ClassMalformed, holdfast.ClassDropped}
	const names = 5_000
	for i := range names {
		name := fmt.Sprint("name-", i)
		class := classes[i%len(classes)]
		m.Attempted(name, class)
		m.Tried(name, class, time.Second)
		m.Retried(name)
		m.Died(name, class)
		m.Effected(name, time.Second)
		m.ConsumerWaited(name, WaitsOnLadder)
		m.DeliveryWaited(name)
		m.WaitedLong(name)
		m.SagaStarted(name)
		m.SagaEnded(name, []string{"completed", "compensated"}[i%2])
		m.SagaTook(name, []string{"completed", "compensated"}[i%2], time.Hour)
		m.SagaReplyLate(name)
		m.PublishRefused("full", name)
		m.Answered(holdfast.Lane(name), name)
		m.Took(holdfast.Lane(name), name, time.Second)
		m.Parked(name)
		m.Alert(holdfast.AlertKind(name))
		m.Dropped(name, name, 1)
	}
	m.Tried("billing", "", time.Second)
	m.SagaStarted("travel")
	m.SagaEnded("travel", "completed")
	m.WaitedLong("seat.take")
	m.WaitedLong("room.take")
	m.DeliveryWaited("order.placed")
	m.Watch(func() (l Load) {
		for i := range 1000 {
			l.Pools = append(l.Pools, PoolLoad{Name: fmt.Sprint("pool-", i), Limit: 1})
			l.Handlers = append(l.Handlers, HandlerLoad{Consumer: fmt.Sprint("c-", i)})
		}
		return l
	})
	lines := m.Lines()
	require.Less(t, lines, 50_000, "lines of a scrape")
	require.Greater(t, lines, 1000)
	values := m.Values()
	require.EqualValues(t, 1, values["holdfast.consumer.duration class=ok,consumer=billing"])
	require.EqualValues(t, names-maxValues+1, values["holdfast.consumer.retries consumer=other"], "nothing is lost")
	require.Contains(t, values, "holdfast.pool.in_use pool=other")
	for _, own := range []string{"holdfast.sagas.started saga=travel", "holdfast.sagas.ended saga=travel,state=completed",
		"holdfast.sagas.long_waits participant=seat.take", "holdfast.sagas.long_waits participant=room.take",
		"holdfast.transactions.long_waits topic=order.placed"} {
		require.EqualValues(t, 1, values[own], own)
	}
}

// Histograms have buckets on both sides of what they are for.
func TestBuckets(t *testing.T) {
	for _, bounds := range [][]float64{shortTimes, longTimes} {
		require.True(t, slices.IsSorted(bounds))
		require.Len(t, bounds, 14)
	}
}
