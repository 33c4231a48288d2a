// Package telemetry makes the spans of OpenTelemetry: one trace leads from who sends a
// message or starts a saga through all that becomes of it, in whichever process. A message
// carries its place in the trace in two headers of its own (W3C Trace Context), a saga in
// its record; so every member of a cohort or a sweep goes on in the trace of its own
// caller, however it got into the workflow that they share.
//
// It knows OpenTelemetry's API, and no SDK. The tracer is the application's: if it
// panics, the span is not there, and everything else goes on. A nil [Tracer] traces
// nothing, and costs nothing.
package telemetry

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	holdfast "github.com/holdfastmq/holdfast"
)

// scope is the instrumentation scope of Holdfast's spans.
const scope = "github.com/holdfastmq/holdfast"

// maxStatus bounds the text of an error in a span, in bytes, and maxLinks how many members
// the span of a step about many names: OpenTelemetry's SDKs keep 128.
const (
	maxStatus = 500
	maxLinks  = 128
)

// Tracer makes spans. nil makes none. Its methods may be called from many goroutines.
type Tracer struct {
	t      trace.Tracer
	prefix string // of the exchanges
	later  later
}

// New returns a tracer for the installation of that prefix; nil if p is nil, or cannot give
// one.
func New(p trace.TracerProvider, prefix string) (t *Tracer) {
	if p == nil {
		return nil
	}
	defer func() {
		if recover() != nil {
			t = nil
		}
	}()
	made := p.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	if made == nil {
		return nil
	}
	return &Tracer{t: made, prefix: prefix}
}

// Span is one that has begun. nil is none.
type Span struct {
	s  trace.Span
	at []trace.SpanEndOption // when it ended; none: when that is said
}

// start begins a span. Where the application's tracer panics, there is none.
func (t *Tracer) start(ctx context.Context, name string, o ...trace.SpanStartOption) (out context.Context, span *Span) {
	defer func() {
		if recover() != nil {
			out, span = ctx, nil
		}
	}()
	out, s := t.t.Start(ctx, name, o...)
	switch {
	case s == nil:
		return ctx, nil
	case out == nil:
		out = trace.ContextWithSpan(ctx, s)
	}
	return out, &Span{s: s}
}

// End ends the span; err says that what it is about failed.
func (s *Span) End(err error) { s.end(err, "") }

// end ends the span with the class of an error.
func (s *Span) end(err error, class string, more ...attribute.KeyValue) {
	if s == nil {
		return
	}
	defer func() { _ = recover() }()
	defer s.s.End(s.at...)
	s.s.SetAttributes(more...)
	if err == nil {
		return
	}
	if class == "" {
		class = "error"
	}
	s.s.SetAttributes(semconv.ErrorTypeKey.String(class))
	s.s.SetStatus(codes.Error, clip(err.Error(), maxStatus))
}

func clip(s string, most int) string {
	if len(s) <= most {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

var w3c propagation.TraceContext

// remote is the span context that t names; it is not valid where t names none.
func remote(t holdfast.Trace) trace.SpanContext {
	if t = t.Bounded(); t.Parent == "" {
		return trace.SpanContext{}
	}
	in := propagation.MapCarrier{holdfast.HeaderTraceParent: t.Parent}
	if t.State != "" {
		in[holdfast.HeaderTraceState] = t.State
	}
	return trace.SpanContextFromContext(w3c.Extract(context.Background(), in))
}

// spanOf is the context of the span that ctx carries; not valid: it carries none. The span is
// the application's: if it panics, there is none.
func spanOf(ctx context.Context) (sc trace.SpanContext) {
	defer func() {
		if recover() != nil {
			sc = trace.SpanContext{}
		}
	}()
	return trace.SpanContextFromContext(ctx)
}

// placeOf is how other processes find the span that ctx carries; zero: it carries none.
func placeOf(ctx context.Context) holdfast.Trace {
	sc := spanOf(ctx)
	if !sc.IsValid() {
		return holdfast.Trace{}
	}
	out := propagation.MapCarrier{}
	w3c.Inject(trace.ContextWithSpanContext(context.Background(), sc), out)
	return holdfast.TraceOf(out)
}

// Outside is ctx without the span that it carries: what a process does for as long as it runs
// belongs to no call. The other values of ctx stay.
func (t *Tracer) Outside(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, trace.SpanContext{})
}

// Place is where a trace goes on from the span of ctx, in another process.
func (t *Tracer) Place(ctx context.Context) holdfast.Trace {
	if t == nil {
		return holdfast.Trace{}
	}
	return placeOf(ctx)
}

// under makes ctx one whose spans go on at a place, and links them to what else ctx is
// about, such as the step of many that this is one of. Where ctx is in that trace already,
// it stays as it is.
func under(ctx context.Context, at holdfast.Trace) (context.Context, []trace.SpanStartOption) {
	from := remote(at)
	now := spanOf(ctx)
	switch {
	case !from.IsValid(), now.TraceID() == from.TraceID():
		return ctx, nil
	case now.IsValid():
		return trace.ContextWithRemoteSpanContext(ctx, from),
			[]trace.SpanStartOption{trace.WithLinks(trace.Link{SpanContext: now})}
	}
	return trace.ContextWithRemoteSpanContext(ctx, from), nil
}

// at begins a span at a place, which a message or a saga carries; nil where it carries
// none and ctx is in no trace: what nobody traced begins no trace of its own.
func (t *Tracer) at(ctx context.Context, place holdfast.Trace, name string, kind trace.SpanKind,
	attributes ...attribute.KeyValue) (context.Context, *Span) {
	in, o := under(ctx, place)
	if !spanOf(in).IsValid() {
		return ctx, nil
	}
	return t.start(in, name, append(o, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))...)
}

// ofMessage are the attributes of a span about a message; operation is what is done, and
// kind what that is in the words of OpenTelemetry.
func (t *Tracer) ofMessage(m *holdfast.Message, txID, operation string, kind attribute.KeyValue,
	queue string) []attribute.KeyValue {
	to := fmt.Sprintf("%s.topics:%s", t.prefix, m.Topic)
	if queue != "" {
		to += ":" + queue
	}
	out := []attribute.KeyValue{semconv.MessagingSystemRabbitMQ, semconv.MessagingOperationName(operation), kind,
		semconv.MessagingDestinationName(to), semconv.MessagingRabbitMQDestinationRoutingKey(m.Topic),
		semconv.MessagingMessageBodySize(len(m.Body))}
	if m.ID != "" {
		out = append(out, semconv.MessagingMessageID(clip(m.ID, holdfast.MaxName)))
	}
	if txID != "" {
		out = append(out, transaction(txID))
	}
	return out
}

func transaction(id string) attribute.KeyValue {
	return attribute.String("holdfast.transaction", clip(id, holdfast.MaxName))
}
