// Package measure takes one measurement, of whatever it is given: a Load that is
// put on for as long as a window (Window), a backlog that is worked off (Drain),
// or what arrives at the other end (Arrivals). It also reads the processor time and
// the memory of processes. It knows no server and imports no other room.
package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	warmUp     = time.Second      // at least; and until every caller has been served once
	warmUpMost = 30 * time.Second // at most
	drainMost  = 30 * time.Second // for what is under way at the end
	longest    = 4                // windows a measurement of slow work may take
	perCaller  = 2                // results for each, on average, are what it is made longer for
	maxFailed  = 0.01             // of all operations
)

// Driver puts load on until l.Over says so, then lets what is under way come to
// its end and returns. When ctx is done it gives up.
type Driver func(ctx context.Context, l *Load) error

// Load is one measurement as its driver sees it.
type Load struct {
	Callers int
	stop    <-chan struct{}
	lanes   []lane
}

// lane is where one caller notes its results, without a lock.
type lane struct {
	served  atomic.Int64
	results []result
	_       [64]byte // callers do not share cache lines
}

type result struct {
	end     time.Time
	latency time.Duration
	err     error
}

// Note notes an operation of a caller that began at began and ends now.
func (l *Load) Note(caller int, began time.Time, err error) {
	now := time.Now()
	lane := &l.lanes[caller]
	lane.results = append(lane.results, result{now, now.Sub(began), err})
	lane.served.Add(1)
}

// Over reports whether the driver is to come to its end.
func (l *Load) Over(ctx context.Context) bool {
	select {
	case <-l.stop:
		return true
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// ErrNotCounted is an operation's that succeeded but is not one of those that are
// measured.
var ErrNotCounted = errors.New("not counted")

// ClosedLoop makes a driver of one operation: every caller repeats it without
// a pause.
func ClosedLoop(op func(ctx context.Context) error) Driver {
	return func(ctx context.Context, l *Load) error {
		var wg sync.WaitGroup
		for caller := range l.Callers {
			wg.Go(func() {
				for !l.Over(ctx) {
					began := time.Now()
					if err := op(ctx); !errors.Is(err, ErrNotCounted) {
						l.Note(caller, began, err)
					}
				}
			})
		}
		wg.Wait()
		return ctx.Err()
	}
}

// Figure is what one measurement comes to.
type Figure struct {
	Rate       float64 `json:"per_second"`
	P50        float64 `json:"p50_ms,omitempty"` // 0: work that has no caller who waits
	P99        float64 `json:"p99_ms,omitempty"`
	Operations int     `json:"operations"`
	Seconds    float64 `json:"seconds"`
	Failed     int     `json:"failed,omitempty"`
	Failure    string  `json:"failure,omitempty"` // the first one
	// Settle is how long it took afterwards until nothing was left to do.
	Settle float64 `json:"settle_ms,omitempty"`
	// Growth is what the worker's resident memory had grown by at its peak, in MB;
	// Peak is that peak.
	Growth float64 `json:"growth_mb,omitempty"`
	Peak   float64 `json:"peak_mb,omitempty"`
	// CPU is the processor time used meanwhile, by whom.
	CPU CPU `json:"cpu_ms_per_operation,omitempty"`
}

// Window warms up, counts what ends within the window, and lets the rest end.
// Slow work gets a window that is up to four times as long.
func Window(ctx context.Context, drive Driver, callers int, window time.Duration) (Figure, error) {
	ctx, cancel := context.WithTimeout(ctx, warmUpMost+longest*window+drainMost)
	defer cancel()
	runtime.GC()
	stop := make(chan struct{})
	l := &Load{Callers: callers, stop: stop, lanes: make([]lane, callers)}
	ended := make(chan error, 1)
	go func() { ended <- drive(ctx, l) }()

	err := l.await(ctx, ended, warmUp, warmUpMost, func() bool { callers, _ := l.served(); return callers == l.Callers })
	_, before := l.served()
	from, used := time.Now(), ReadCPU()
	if err == nil {
		err = l.await(ctx, ended, window, longest*window,
			func() bool { _, now := l.served(); return now-before >= perCaller*callers })
	}
	to := time.Now()
	used = ReadCPU().Sub(used)
	close(stop)
	if err != nil {
		cancel()
	}
	select {
	case e := <-ended:
		err = errors.Join(err, e)
	case <-time.After(drainMost + 5*time.Second):
		// its lanes are not ours yet
		return Figure{}, errors.Join(err, errors.New("what was under way did not come to its end"))
	}
	if err != nil {
		return Figure{}, errors.Join(err, l.firstError())
	}
	return l.figure(from, to, used)
}

// await returns once least has passed and enough says so, or most has passed. A
// driver that ends meanwhile is an error.
func (l *Load) await(ctx context.Context, ended chan error, least, most time.Duration, enough func() bool) error {
	began := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- nil
			return errors.Join(errors.New("it ended by itself"), err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		passed := time.Since(began)
		if passed >= most || passed >= least && enough() {
			return nil
		}
	}
}

// served counts the callers that have a result, and the results.
func (l *Load) served() (callers, results int) {
	for i := range l.lanes {
		n := int(l.lanes[i].served.Load())
		results += n
		callers += min(n, 1)
	}
	return callers, results
}

// figure sums up what ended between from and to. The driver has returned.
func (l *Load) figure(from, to time.Time, used CPU) (Figure, error) {
	var latencies []time.Duration
	f := Figure{Seconds: to.Sub(from).Seconds()}
	for i := range l.lanes {
		for _, r := range l.lanes[i].results {
			switch {
			case r.end.Before(from) || r.end.After(to):
			case r.err != nil:
				f.Failed++
				f.Failure = r.err.Error()
			default:
				latencies = append(latencies, r.latency)
			}
		}
	}
	f.Operations = len(latencies)
	if f.Operations == 0 || float64(f.Failed) > maxFailed*float64(f.Operations) {
		return f, fmt.Errorf("%d operations succeeded, %d failed: %w", f.Operations, f.Failed, l.firstError())
	}
	slices.Sort(latencies)
	f.Rate = float64(f.Operations) / f.Seconds
	f.P50, f.P99 = Millis(percentile(latencies, 50)), Millis(percentile(latencies, 99))
	f.CPU = used.Per(f.Operations)
	return f, nil
}

func (l *Load) firstError() error {
	for i := range l.lanes {
		for _, r := range l.lanes[i].results {
			if r.err != nil {
				return r.err
			}
		}
	}
	return nil
}
