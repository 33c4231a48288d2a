package telemetry

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	holdfast "github.com/holdfastmq/holdfast"
)

const (
	place   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	another = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

func newTracer(t *testing.T) (*Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	p := sdk.NewTracerProvider(sdk.WithSyncer(spans))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return New(p, "holdfast"), spans
}

func message(headers ...string) holdfast.Message {
	m := holdfast.Message{ID: "m-1", Topic: "order.placed"}
	for i := 0; i < len(headers); i += 2 {
		if m.Headers == nil {
			m.Headers = map[string]string{}
		}
		m.Headers[headers[i]] = headers[i+1]
	}
	return m
}

// Whatever stands in the headers, it is a place in a trace or none.
func TestRemote(t *testing.T) {
	for name, row := range map[string]struct {
		t    holdfast.Trace
		want bool
	}{
		"none":                       {holdfast.Trace{}, false},
		"one":                        {holdfast.Trace{Parent: place}, true},
		"with a state":               {holdfast.Trace{Parent: place, State: "vendor=1"}, true},
		"a state alone":              {holdfast.Trace{State: "vendor=1"}, false},
		"a megabyte":                 {holdfast.Trace{Parent: place + strings.Repeat("a", 1<<20)}, false},
		"a megabyte of it":           {holdfast.Trace{Parent: strings.Repeat(place, 20_000)}, false},
		"a newer version":            {holdfast.Trace{Parent: "cc" + place[2:] + "-what-the-future-will-be-like"}, true},
		"a newer one, of a megabyte": {holdfast.Trace{Parent: "cc" + place[2:] + "-" + strings.Repeat("a", 1<<20)}, false},
		"no version":                 {holdfast.Trace{Parent: "ff" + place[2:]}, false},
		"control characters":         {holdfast.Trace{Parent: place[:50] + "\x00\x1b[2J"}, false},
		"a line":                     {holdfast.Trace{Parent: place + "\r\nx: y"}, false},
		"capitals":                   {holdfast.Trace{Parent: strings.ToUpper(place)}, false},
		"zeros":                      {holdfast.Trace{Parent: "00-00000000000000000000000000000000-0000000000000000-01"}, false},
		"no UTF-8":                   {holdfast.Trace{Parent: "\xff\xfe"}, false},
	} {
		require.Equal(t, row.want, remote(row.t).IsValid(), name)
	}
	for _, state := range []string{strings.Repeat("a", 1<<20), "\x00", "a=" + strings.Repeat("b", 250) + ",c=" + strings.Repeat("b", 250) + ",d=" + strings.Repeat("b", 250)} {
		at := remote(holdfast.Trace{Parent: place, State: state})
		require.True(t, at.IsValid())
		require.Zero(t, at.TraceState().Len())
	}
	require.Equal(t, "1", remote(holdfast.Trace{Parent: place, State: "vendor=1"}).TraceState().Get("vendor"))
}

// What a message gets: the place of the call, unless it is in another trace already.
func TestSend(t *testing.T) {
	tr, spans := newTracer(t)
	ms := []holdfast.Message{message("tenant", "north"), message("traceparent", another), message("traceparent", place, "tracestate", "old=1")}
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), remote(holdfast.Trace{Parent: place, State: "vendor=1"}))
	in, out, sending := tr.Send(ctx, "send", "orders", holdfast.Express, ms, nil)
	sending.End(holdfast.Receipt{TxID: "tx-1", Resolution: holdfast.Commit}, nil)
	here := placeOf(in)
	require.NotEqual(t, place, here.Parent)
	require.Equal(t, place[:35], here.Parent[:35], "the caller's trace")
	require.Equal(t, map[string]string{"tenant": "north", "traceparent": here.Parent, "tracestate": "vendor=1"}, out[0].Headers)
	require.Equal(t, another, out[1].Headers["traceparent"])
	require.Equal(t, here.Parent, out[2].Headers["traceparent"])
	require.Equal(t, "vendor=1", out[2].Headers["tracestate"])
	require.Equal(t, map[string]string{"tenant": "north"}, ms[0].Headers, "the caller's own map")
	require.Len(t, spans.GetSpans(), 1)

	// A caller without a span: the message's own place goes on.
	in, out, _ = tr.Send(t.Context(), "send", "orders", holdfast.Express, []holdfast.Message{message("traceparent", another)}, nil)
	require.Equal(t, another[:35], out[0].Headers["traceparent"][:35])
	require.NotEqual(t, another, out[0].Headers["traceparent"])
	require.Equal(t, out[0].Headers["traceparent"], placeOf(in).Parent)
}

// Where there is no room, the message goes without.
func TestSendWithoutRoom(t *testing.T) {
	tr, _ := newTracer(t)
	long := message("note", strings.Repeat("x", holdfast.MaxHeaders-len("note")))
	require.NoError(t, long.Validate())
	_, out, sending := tr.Send(t.Context(), "send", "orders", holdfast.Traced, []holdfast.Message{long}, nil)
	require.NotNil(t, sending)
	require.Equal(t, []holdfast.Message{long}, out)
	full := errors.New("a frame is full")
	_, out, _ = tr.Send(t.Context(), "send", "orders", holdfast.Traced, []holdfast.Message{message()},
		func([]holdfast.Message) error { return full })
	require.Equal(t, []holdfast.Message{message()}, out)
	var many []holdfast.Message
	for range 5 {
		many = append(many, message("note", strings.Repeat("x", 4*holdfast.MaxHeaders/5-len("note"))))
	}
	require.NoError(t, holdfast.ValidateMessages(many, 0))
	_, out, _ = tr.Send(t.Context(), "send", "orders", holdfast.Traced, many, nil)
	require.Equal(t, many, out)
}

// The local transaction may write the headers anew.
func TestLocalKeepsThePlace(t *testing.T) {
	tr, _ := newTracer(t)
	for name, row := range map[string]struct {
		change func(m *holdfast.Message)
		want   map[string]string
	}{
		"nothing":  {func(*holdfast.Message) {}, map[string]string{"traceparent": place}},
		"replaced": {func(m *holdfast.Message) { m.Headers = map[string]string{"a": "b"} }, map[string]string{"a": "b", "traceparent": place}},
		"removed":  {func(m *holdfast.Message) { m.Headers = nil }, map[string]string{"traceparent": place}},
		"its own":  {func(m *holdfast.Message) { m.Headers["traceparent"] = another }, map[string]string{"traceparent": another}},
		"full": {func(m *holdfast.Message) { m.Headers["a"] = strings.Repeat("x", holdfast.MaxHeaders-1) },
			map[string]string{"a": strings.Repeat("x", holdfast.MaxHeaders-1)}},
	} {
		m := message("traceparent", place)
		require.NoError(t, tr.Local(t.Context(), []*holdfast.Message{&m}, nil, func(ctx context.Context) error {
			require.Equal(t, place[3:35], trace.SpanContextFromContext(ctx).TraceID().String())
			row.change(&m)
			return nil
		}), name)
		require.Equal(t, row.want, m.Headers, name)
	}
}

// A panic of the application's goes through, and the span says so.
func TestPanicInside(t *testing.T) {
	tr, spans := newTracer(t)
	m := message("traceparent", place)
	require.PanicsWithValue(t, "mine", func() {
		_ = tr.Process(t.Context(), Delivery{Message: m}, func(context.Context) error { panic("mine") })
	})
	require.Len(t, spans.GetSpans(), 1)
	require.Equal(t, errNotReturned.Error(), spans.GetSpans()[0].Status.Description)
}

// A step about many is in nobody's trace, and leads to all of them; what is about one of
// them is in that one's trace, and leads back.
func TestMany(t *testing.T) {
	tr, spans := newTracer(t)
	at := []holdfast.Trace{{Parent: place}, {}, {Parent: another}}
	inOne := trace.ContextWithRemoteSpanContext(t.Context(), remote(at[0])) // of an interceptor of Temporal's, for example
	ctx, all := tr.Many(inOne, "check-back of many", len(at), func(i int) holdfast.Trace { return at[i] })
	for _, where := range at {
		_, one := tr.CheckBack(ctx, "tx", []holdfast.Message{message("traceparent", where.Parent)})
		one.Resolved(holdfast.Unknown, "its row is locked")
	}
	all.End(nil)
	got := spans.GetSpans()
	require.Len(t, got, 4)
	require.Len(t, got[3].Links, 2)
	shared := got[3].SpanContext
	require.False(t, got[3].Parent.IsValid())
	require.Equal(t, place[3:35], got[0].SpanContext.TraceID().String())
	require.Equal(t, another[3:35], got[2].SpanContext.TraceID().String())
	for _, i := range []int{0, 2} {
		require.Len(t, got[i].Links, 1)
		require.Equal(t, shared.SpanID(), got[i].Links[0].SpanContext.SpanID())
	}
	require.Equal(t, shared.TraceID(), got[1].SpanContext.TraceID(), "who is not traced stays with the step")
	_, none := tr.Many(t.Context(), "one", 1, func(int) holdfast.Trace { return at[0] })
	require.Nil(t, none)
	_, none = tr.Many(t.Context(), "nobody", 2, func(int) holdfast.Trace { return holdfast.Trace{} })
	require.Nil(t, none)
}

// What nobody traced begins no trace in the middle.
func TestNothingInTheMiddle(t *testing.T) {
	tr, spans := newTracer(t)
	p := tr.Publisher(quiet{})
	require.NoError(t, p.PublishMessages(t.Context(), "g", "tx", []holdfast.Message{message()}))
	publishHalf(t, p, t.Context(), message())
	tr.Settled("retry", "c", "tx", &holdfast.Message{Topic: "t"}, holdfast.ClassError, "no")
	tr.SagaEnded(holdfast.Trace{}, "s", "id", "completed", time.Now())
	require.NoError(t, tr.Reply(t.Context(), holdfast.Trace{}, "p", "s", "st", "done", func(context.Context) error { return nil }))
	tr.Flush()
	require.Empty(t, spans.GetSpans())
}

// Each message is published in its own trace.
func TestPublishInEachTrace(t *testing.T) {
	tr, spans := newTracer(t)
	fails := errors.New("no")
	err := tr.Publisher(quiet{fails}).PublishMessages(t.Context(), "g", "tx",
		[]holdfast.Message{message("traceparent", place), message("traceparent", place), message("traceparent", another)})
	require.Equal(t, fails, err)
	got := spans.GetSpans()
	require.Len(t, got, 2)
	require.NotEqual(t, got[0].SpanContext.TraceID(), got[1].SpanContext.TraceID())
	require.Equal(t, "no", got[1].Status.Description)
}

func publishHalf(t *testing.T, p Publisher, ctx context.Context, m holdfast.Message) {
	t.Helper()
	told := false
	p.PublishHalves([]context.Context{ctx}, []holdfast.Half{{Messages: []holdfast.Message{m}}}, func(i int, err error) {
		require.Zero(t, i)
		require.NoError(t, err)
		told = true
	})
	require.True(t, told)
}

type quiet struct{ err error }

func (q quiet) PublishHalf(context.Context, holdfast.Half) error { return q.err }
func (q quiet) PublishHalves(_ []context.Context, hs []holdfast.Half, done func(i int, err error)) {
	for i := range hs {
		done(i, q.err)
	}
}
func (q quiet) PublishMessages(context.Context, string, string, []holdfast.Message) error {
	return q.err
}
func (q quiet) Settle(string, string, holdfast.Resolution)    {}
func (q quiet) Fits(string, string, []holdfast.Message) error { return q.err }

// broken is a tracer that panics at everything.
type broken struct {
	noop.TracerProvider
	early bool
}

func (b broken) Tracer(string, ...trace.TracerOption) trace.Tracer {
	if b.early {
		panic("no tracer")
	}
	return brokenTracer{}
}

type brokenTracer struct{ noop.Tracer }

func (brokenTracer) Start(context.Context, string, ...trace.SpanStartOption) (context.Context, trace.Span) {
	panic("no span")
}

// A tracer that panics leaves no span, and everything as it is.
func TestBrokenTracer(t *testing.T) {
	require.Nil(t, New(broken{early: true}, "holdfast"))
	tr := New(broken{}, "holdfast")
	everything(t, tr)
	ms := []holdfast.Message{message("traceparent", place)}
	_, out, sending := tr.Send(t.Context(), "send", "g", "", ms, nil)
	require.Nil(t, sending)
	require.Equal(t, ms, out)
}

// odd is a tracer that gives no context, or no span, or a span that panics at what it is
// asked.
type odd struct {
	noop.TracerProvider
	noSpan bool
}

func (o odd) Tracer(string, ...trace.TracerOption) trace.Tracer { return oddTracer{noSpan: o.noSpan} }

type oddTracer struct {
	noop.Tracer
	noSpan bool
}

func (o oddTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	if o.noSpan {
		return nil, nil //nolint:staticcheck // so does a tracer that is wrong
	}
	return nil, oddSpan{} //nolint:staticcheck // so does a tracer that is wrong
}

type oddSpan struct{ noop.Span }

func (oddSpan) SpanContext() trace.SpanContext { panic("no context") }

// What an odd tracer answers is guarded as well: handlers get a context, and the
// application's own span in a context may be as odd.
func TestOddTracer(t *testing.T) {
	for _, o := range []odd{{}, {noSpan: true}} {
		tr := New(o, "holdfast")
		everything(t, tr)
		for _, ctx := range []context.Context{t.Context(), trace.ContextWithSpan(t.Context(), oddSpan{})} {
			got := false
			require.NoError(t, tr.Process(ctx, Delivery{Message: message()}, func(ctx context.Context) error {
				got = ctx != nil && ctx.Err() == nil
				return nil
			}))
			require.True(t, got)
			ms := []holdfast.Message{message("traceparent", place)}
			in, out, sending := tr.Send(ctx, "send", "g", "", ms, nil)
			sending.End(holdfast.Receipt{}, nil)
			require.NotNil(t, in)
			require.Equal(t, ms, out)
			require.Zero(t, tr.Place(ctx))
			_, at, span := tr.StartSaga(ctx, "s")
			span.End(nil)
			require.Zero(t, at)
			require.NoError(t, tr.Publisher(quiet{}).PublishMessages(ctx, "g", "tx", ms))
		}
	}
}

// Outside a call there is no span, and all else is there.
func TestOutside(t *testing.T) {
	tr, spans := newTracer(t)
	type key struct{}
	in := trace.ContextWithRemoteSpanContext(context.WithValue(t.Context(), key{}, "kept"), remote(holdfast.Trace{Parent: place}))
	out := tr.Outside(in)
	require.Equal(t, "kept", out.Value(key{}))
	require.NoError(t, tr.Process(out, Delivery{Message: message()}, func(context.Context) error { return nil }))
	require.False(t, spans.GetSpans()[0].Parent.IsValid())
	require.NotEqual(t, place[3:35], spans.GetSpans()[0].SpanContext.TraceID().String())
	require.Equal(t, in, (*Tracer)(nil).Outside(in), "off, it is as it was")
}

// everything calls every method, which must have no effect but the calls.
func everything(t *testing.T, tr *Tracer) {
	t.Helper()
	ctx := t.Context()
	calls := 0
	call := func(context.Context) error { calls++; return nil }
	m := message("traceparent", place)
	_, _, sending := tr.Send(ctx, "send", "g", "", []holdfast.Message{m}, nil)
	sending.End(holdfast.Receipt{}, errors.New("no"))
	require.NoError(t, tr.Local(ctx, []*holdfast.Message{&m}, nil, call))
	require.NoError(t, tr.Process(ctx, Delivery{Message: m}, call))
	require.NoError(t, tr.Letter(ctx, "redeliver", &holdfast.DeadLetter{Message: m}, call))
	require.NoError(t, tr.Reply(ctx, holdfast.Trace{Parent: place}, "p", "s", "st", "done", call))
	tr.Step(ctx, holdfast.Trace{Parent: place}, "do", "n", "id", "st", 1, func(context.Context) (string, string) { calls++; return "done", "" })
	require.Equal(t, 5, calls)
	tr.Settled("retry", "c", "tx", &m, holdfast.ClassError, "no")
	_, span := tr.CheckBack(ctx, "tx", []holdfast.Message{m})
	span.Resolved(holdfast.Commit, "")
	_, span = tr.Many(ctx, "many", 2, func(int) holdfast.Trace { return holdfast.Trace{Parent: place} })
	span.End(nil)
	_, end := tr.HandOver(ctx, []holdfast.Half{{Messages: []holdfast.Message{m}}, {}})
	end(make([]error, 2))
	_, _, span = tr.StartSaga(ctx, "s")
	span.End(nil)
	tr.SagaEnded(holdfast.Trace{Parent: place}, "s", "id", "completed", time.Now())
	tr.Flush()
	require.Empty(t, tr.Headers(ctx, holdfast.Trace{}))
	require.Equal(t, map[string]string{"traceparent": place}, tr.Headers(ctx, holdfast.Trace{Parent: place}), "it is passed on")
	require.Zero(t, tr.Place(ctx))
	publishHalf(t, tr.Publisher(quiet{}), ctx, m)
	require.NoError(t, tr.LaneBroker(quiet{}).PublishMessages(ctx, "g", "tx", []holdfast.Message{m}))
}

// Off, it costs no allocation.
func TestOff(t *testing.T) {
	tr := New(nil, "holdfast")
	require.Nil(t, tr)
	everything(t, tr)
	require.Equal(t, quiet{}, tr.Publisher(quiet{}))
	require.Equal(t, quiet{}, tr.LaneBroker(quiet{}))
	ctx, ms := t.Context(), []holdfast.Message{message()}
	call := func(context.Context) error { return nil }
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _, sending := tr.Send(ctx, "send", "g", holdfast.Express, ms, nil)
		sending.End(holdfast.Receipt{}, nil)
		_ = tr.Process(ctx, Delivery{Message: ms[0]}, call)
		_, span := tr.CheckBack(ctx, "tx", ms)
		span.Resolved(holdfast.Commit, "")
		_ = tr.Headers(ctx, holdfast.Trace{})
	}))
}
