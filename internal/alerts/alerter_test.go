package alerts

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/metrics"
	"github.com/holdfastmq/holdfast/internal/metrics/metricstest"
)

// journal is a log that can be read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// bell is an alerter with its journal and its meter. Tests in a bubble of
// synctest run on a clock of their own, which goes on when all wait.
type bell struct {
	*Alerter
	t       testing.TB
	journal *journal
	meter   *metricstest.Meter
	metrics *metrics.Metrics
	end     func() // ends run, and waits for it
}

func newBell(t testing.TB, call func(context.Context, holdfast.Alert), w Target) *bell {
	t.Helper()
	b := &bell{t: t, journal: &journal{}, meter: metricstest.New(t)}
	var err error
	b.metrics, err = metrics.New(b.meter.Provider)
	require.NoError(t, err)
	b.Alerter, err = New(call, w, "", slog.New(slog.NewTextHandler(b.journal, nil)), b.metrics)
	require.NoError(t, err)
	return b
}

func (b *bell) start() *bell {
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.run(ctx) }()
	b.end = sync.OnceFunc(func() {
		cancel()
		require.NoError(b.t, <-ended)
	})
	return b
}

func (b *bell) ring(ids ...string) {
	for _, id := range ids {
		b.Alert(holdfast.Alert{Kind: holdfast.AlertParked, ID: id, Reason: "because"})
	}
}

func (b *bell) dropped(to, why string) int {
	return int(b.meter.Values()["holdfast.alerts.dropped to="+to+",why="+why])
}

func numbered(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("m", i)
	}
	return ids
}

// list collects what came where.
type list struct {
	mu  sync.Mutex
	all []string
}

func (l *list) add(id string) { l.mu.Lock(); defer l.mu.Unlock(); l.all = append(l.all, id) }
func (l *list) get() []string { l.mu.Lock(); defer l.mu.Unlock(); return append([]string{}, l.all...) }

func (l *list) hook(_ context.Context, a holdfast.Alert) { l.add(a.ID) }

func TestAlertsReachTheHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(-time.Hour)
		var got []holdfast.Alert
		b := newBell(t, func(ctx context.Context, a holdfast.Alert) {
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, time.Minute, time.Until(deadline))
			got = append(got, a)
		}, Target{})
		b.ring("early") // before it runs
		b.start()
		b.Alert(holdfast.Alert{Kind: holdfast.AlertBreakerOpened, Consumer: "billing", At: at})
		b.ring("last") // and right before the end
		b.end()
		require.Equal(t, []holdfast.Alert{
			{Kind: holdfast.AlertParked, ID: "early", Reason: "because", At: time.Now()},
			{Kind: holdfast.AlertBreakerOpened, Consumer: "billing", At: at},
			{Kind: holdfast.AlertParked, ID: "last", Reason: "because", At: time.Now()},
		}, got)
		require.Equal(t, map[string]int64{"holdfast.alerts kind=parked": 2, "holdfast.alerts kind=breaker-opened": 1},
			b.meter.Values())
		require.Empty(t, b.journal.String())

		b.ring("too late")
		require.Len(t, got, 3)
		require.Equal(t, 1, b.dropped(toHook, whyShutdown))
		require.Contains(t, b.journal.String(), "too late")
	})
}

func TestAlertsWithoutAnybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBell(t, nil, Target{}).start()
		b.ring(numbered(2 * alertQueueSize)...)
		b.end()
		require.Equal(t, map[string]int64{"holdfast.alerts kind=parked": 2 * alertQueueSize}, b.meter.Values())
	})
}

// Alert never blocks. What does not fit is counted, and logged without a flood.
func TestAlertsThatDoNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got list
		b := newBell(t, got.hook, Target{})
		b.ring(numbered(alertQueueSize)...)
		require.Zero(t, b.dropped(toHook, whyFull))
		b.ring(numbered(500)...)
		require.Equal(t, 500, b.dropped(toHook, whyFull))
		require.Equal(t, 1, bytes.Count([]byte(b.journal.String()), []byte("\n")), b.journal)
		require.Contains(t, b.journal.String(), "dropping alerts")
		b.start()
		synctest.Wait()
		require.Len(t, got.get(), alertQueueSize)
		b.ring("after")
		b.end()
		require.Len(t, got.get(), alertQueueSize+1)
		require.Contains(t, b.journal.String(), "alerts=500")
	})
}

func TestAlertHookPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got list
		b := newBell(t, func(_ context.Context, a holdfast.Alert) {
			switch a.ID {
			case "bad":
				panic("boom")
			case "gone":
				runtime.Goexit()
			}
			got.add(a.ID)
		}, Target{}).start()
		b.ring("bad", "gone", "good")
		b.end()
		require.Equal(t, []string{"good"}, got.get())
		require.Equal(t, 2, b.dropped(toHook, whyPanic))
		require.Contains(t, b.journal.String(), "panic: boom")
		require.Contains(t, b.journal.String(), "ended its goroutine")
	})
}

// A hook that heeds its context is cut off by it, one that does not is left
// alone: neither holds up the webhook, the alerts after it, or the shutdown.
func TestAlertHookHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var got list
		posts := &posts{}
		b := newBell(t, func(ctx context.Context, a holdfast.Alert) {
			switch a.ID {
			case "heeds":
				<-ctx.Done()
			case "hangs":
				<-release
			}
			got.add(a.ID)
		}, posts.webhook()).start()
		begun := time.Now()
		b.ring("heeds", "after")
		synctest.Wait()
		require.Empty(t, got.get())
		require.ElementsMatch(t, []string{"heeds", "after"}, posts.ids(), "the webhook is apart")
		time.Sleep(hookTimeout)
		synctest.Wait()
		require.Equal(t, []string{"heeds", "after"}, got.get())
		require.Equal(t, hookTimeout, time.Since(begun))
		require.Zero(t, b.dropped(toHook, whyTimeout))

		b.ring("hangs", "next")
		time.Sleep(hookTimeout + hookGrace)
		synctest.Wait()
		require.Equal(t, []string{"heeds", "after", "next"}, got.get())
		require.Equal(t, 1, b.dropped(toHook, whyTimeout))

		// So many of them that no more are begun.
		for range hooksRunning {
			b.ring("hangs")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, hooksRunning, b.dropped(toHook, whyTimeout), "one is not begun")
		require.Len(t, b.hook.running, hooksRunning)
		b.ring("queued")
		begun = time.Now()
		b.end()
		require.LessOrEqual(t, time.Since(begun), alertDrain+hookGrace)
		require.Equal(t, 2, b.dropped(toHook, whyShutdown))
		close(release)
	})
}

// At shutdown what is queued gets a few seconds, and not more.
func TestAlertsAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got list
		b := newBell(t, func(ctx context.Context, a holdfast.Alert) {
			select {
			case <-time.After(2 * time.Second):
				got.add(a.ID)
			case <-ctx.Done():
			}
		}, Target{})
		b.ring(numbered(10)...)
		b.start()
		synctest.Wait()
		begun := time.Now()
		b.end()
		require.Equal(t, alertDrain, time.Since(begun))
		require.Equal(t, []string{"m0", "m1"}, got.get(), "the third was cut off")
		require.Equal(t, 7, b.dropped(toHook, whyShutdown))
	})
}
