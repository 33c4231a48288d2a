package metrics

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Load is how much is in use of what is limited.
type Load struct {
	// Publishes are the calls that wait for RabbitMQ's confirms.
	Publishes int
	// Sagas are those that the process runs itself or has gather, of MaxSagas; 0: it runs none.
	Sagas, MaxSagas int
	Pools           []PoolLoad
	Handlers        []HandlerLoad
}

// PoolLoad is a database's pool of connections.
type PoolLoad struct {
	// Name is the group's, or that of a consumer or participant which uses it.
	Name  string
	InUse int
	// Limit is SetMaxOpenConns; 0: none.
	Limit int
	// Waits counts who had to wait for a connection, and Waited adds up for how long.
	Waits  int64
	Waited time.Duration
}

// HandlerLoad is how many deliveries a consumer has in work.
type HandlerLoad struct {
	Consumer    string
	Busy, Limit int
}

// load observes a Load.
type load struct {
	now      atomic.Pointer[func() Load]
	watching metric.Registration
}

// Watch has the metrics show what now returns, until the worker ends. now is called at each
// reading, and has to return at once.
func (m *Metrics) Watch(now func() Load) { m.load.now.Store(&now) }

func newLoad(m *Metrics, meter metric.Meter) (*load, error) {
	var errs []error
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	publishes := gauge("holdfast.publish.in_flight", "{publish}",
		"Calls that wait for the confirms of what they published.")
	inUse := gauge("holdfast.pool.in_use", "{connection}", "Connections of a pool that are in use.")
	limit := gauge("holdfast.pool.limit", "{connection}", "Connections that a pool may have; none where it has no limit.")
	busy := gauge("holdfast.consumer.busy", "{message}", "Deliveries that a consumer has in work.")
	concurrency := gauge("holdfast.consumer.concurrency", "{message}",
		"Deliveries that a consumer handles at once, at most.")
	sagas := gauge("holdfast.sagas.busy", "{saga}",
		"Sagas that the process runs itself, without a workflow of their own.")
	most := gauge("holdfast.sagas.concurrency", "{saga}", "Sagas that the process runs itself at once, at most.")
	waits, err := meter.Int64ObservableCounter("holdfast.pool.waits", metric.WithUnit("{wait}"),
		metric.WithDescription("How often somebody had to wait for a connection of a pool."))
	errs = append(errs, err)
	waited, err := meter.Float64ObservableCounter("holdfast.pool.wait_time", metric.WithUnit("s"),
		metric.WithDescription("For how long connections of a pool were waited for, added up."))
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	l := &load{}
	of := func(key attribute.Key, name string) metric.MeasurementOption {
		m.mu.Lock()
		defer m.mu.Unlock()
		return metric.WithAttributeSet(attribute.NewSet(key.String(m.bounded(key, name))))
	}
	l.watching, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := l.now.Load()
		if now == nil {
			return nil
		}
		all := (*now)()
		o.ObserveInt64(publishes, int64(all.Publishes))
		if all.MaxSagas > 0 {
			o.ObserveInt64(sagas, int64(all.Sagas))
			o.ObserveInt64(most, int64(all.MaxSagas))
		}
		for _, p := range all.Pools {
			pool := of("pool", p.Name)
			o.ObserveInt64(inUse, int64(p.InUse), pool)
			if p.Limit > 0 {
				o.ObserveInt64(limit, int64(p.Limit), pool)
			}
			o.ObserveInt64(waits, p.Waits, pool)
			o.ObserveFloat64(waited, p.Waited.Seconds(), pool)
		}
		for _, h := range all.Handlers {
			consumer := of(byConsumer[0], h.Consumer)
			o.ObserveInt64(busy, int64(h.Busy), consumer)
			o.ObserveInt64(concurrency, int64(h.Limit), consumer)
		}
		return nil
	}, publishes, inUse, limit, waits, waited, busy, concurrency, sagas, most)
	if err != nil {
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	return l, nil
}
