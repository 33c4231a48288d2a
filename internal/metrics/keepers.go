package metrics

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
)

var (
	byLane       = &[2]attribute.Key{"lane"}
	byResolution = &[2]attribute.Key{"resolution"}
)

// keeping is what the metrics tell of this process's Keepers, and of what they
// handed over.
type keeping struct {
	handOvers, failed, decisions metric.Int64Counter

	mu       sync.Mutex
	keepers  map[int]broker.KeeperStats // by half queue, those that are active
	watching metric.Registration
}

func newKeeping(meter metric.Meter) (*keeping, error) {
	k := &keeping{keepers: map[int]broker.KeeperStats{}}
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	k.handOvers = counter("holdfast.halves.handed_over", "{half}",
		"Half messages that went to Temporal, because no op record came.")
	k.failed = counter("holdfast.halves.hand_over_failures", "{half}",
		"Tries to hand half messages over that failed; they stay in their queue.")
	k.decisions = counter("holdfast.recovery.answers", "{transaction}",
		"Transactions that were checked back together with others, by resolution; unknown ones are asked about again.")
	undecided, err := meter.Int64ObservableGauge("holdfast.halves.undecided", metric.WithUnit("{half}"),
		metric.WithDescription("Half messages that the Keeper in this process holds, by half queue."))
	errs = append(errs, err)
	oldest, err := meter.Int64ObservableGauge("holdfast.halves.oldest_age", metric.WithUnit("s"),
		metric.WithDescription("How long the Keeper in this process has held its oldest half message, by half queue."))
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	k.watching, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		for queue, s := range k.keepers {
			of := metric.WithAttributeSet(attribute.NewSet(attribute.String("queue", strconv.Itoa(queue))))
			o.ObserveInt64(undecided, int64(s.Undecided), of)
			age := time.Duration(0)
			if !s.Oldest.IsZero() {
				age = time.Since(s.Oldest)
			}
			o.ObserveInt64(oldest, int64(age.Seconds()), of)
		}
		return nil
	}, undecided, oldest)
	if err != nil {
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	return k, nil
}

// Kept notes a Keeper's numbers.
func (m *Metrics) Kept(s broker.KeeperStats) {
	k := m.keeping
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keepers[s.Queue] = s
}

// HandedOver counts a hand-over of n half messages, or that it failed.
func (m *Metrics) HandedOver(lane holdfast.Lane, n int, err error) {
	if lane == "" {
		lane = holdfast.Traced
	}
	to := m.keeping.handOvers
	if err != nil {
		to = m.keeping.failed
	}
	m.add(to, series{byLane, string(lane), ""}, int64(n))
}

// Recovered counts the answers to the check-back of a sweep.
func (m *Metrics) Recovered(results []activities.LocalResult) {
	n := map[holdfast.Resolution]int{}
	for _, r := range results {
		n[r.Resolution]++
	}
	for r, n := range n {
		m.add(m.keeping.decisions, series{byResolution, r.String(), ""}, int64(n))
	}
}
