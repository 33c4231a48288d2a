package telemetry

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	holdfast "github.com/holdfastmq/holdfast"
)

// stuck is a tracer whose spans do not begin before it is released.
type stuck struct {
	noop.TracerProvider
	released chan struct{}
	began    atomic.Int64
}

func (s *stuck) Tracer(string, ...trace.TracerOption) trace.Tracer { return &stuckTracer{s: s} }

type stuckTracer struct {
	noop.Tracer
	s *stuck
}

func (t *stuckTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	<-t.s.released
	t.s.began.Add(1)
	return t.Tracer.Start(ctx, name, o...)
}

// Who notes a saga's end does not wait for the tracer, and of a tracer that is stuck not
// everything is kept.
func TestSagaEndedDoesNotWait(t *testing.T) {
	s := &stuck{released: make(chan struct{})}
	tr := New(s, "holdfast")
	noted := make(chan struct{})
	go func() {
		defer close(noted)
		for i := range maxLater + 100 {
			tr.SagaEnded(holdfast.Trace{Parent: place}, "s", strconv.Itoa(i), "completed", time.Now())
		}
		tr.Flush() // a second
	}()
	select {
	case <-noted:
	case <-time.After(time.Minute):
		close(s.released)
		require.FailNow(t, "it waits for the tracer")
	}
	close(s.released)
	require.Eventually(t, func() bool {
		tr.later.mu.Lock()
		defer tr.later.mu.Unlock()
		return tr.later.idle == nil
	}, time.Minute, time.Millisecond, "its goroutine ends")
	require.GreaterOrEqual(t, s.began.Load(), int64(maxLater))
	require.LessOrEqual(t, s.began.Load(), int64(maxLater+1), "one is taken already")
}

// The span of a saga has its times, whenever it is made.
func TestSagaEndedTimes(t *testing.T) {
	tr, spans := newTracer(t)
	began, before := time.Now().Add(-time.Hour), time.Now()
	tr.SagaEnded(holdfast.Trace{Parent: place}, "s", "id", "completed", began)
	after := time.Now()
	tr.SagaEnded(holdfast.Trace{Parent: place}, "s", "id", "completed", time.Time{})
	tr.Flush()
	got := spans.GetSpans()
	require.Len(t, got, 2)
	require.True(t, got[0].StartTime.Equal(began))
	require.False(t, got[0].EndTime.Before(before))
	require.False(t, got[0].EndTime.After(after))
	require.Equal(t, got[1].StartTime, got[1].EndTime, "it is not known when it began")
}
