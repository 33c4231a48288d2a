package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	holdfast "github.com/holdfastmq/holdfast"
)

func ofSaga(name, id string) []attribute.KeyValue {
	out := []attribute.KeyValue{attribute.String("holdfast.saga.name", name)}
	if id != "" {
		out = append(out, attribute.String("holdfast.saga", clip(id, maxStatus)))
	}
	return out
}

// StartSaga begins the span of a call that starts a saga. What becomes of the saga goes on
// at the place.
func (t *Tracer) StartSaga(ctx context.Context, name string) (in context.Context, at holdfast.Trace, span *Span) {
	if t == nil {
		return ctx, at, nil
	}
	in, span = t.start(ctx, "start saga "+name, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(ofSaga(name, "")...))
	return in, placeOf(in), span
}

// Step has a step of a saga tried inside a span; operation is do or undo. f returns how it
// ended, in the words of package core, and its error.
func (t *Tracer) Step(ctx context.Context, at holdfast.Trace, operation, name, id, step string, try int,
	f func(context.Context) (outcome, err string)) {
	if t == nil {
		f(ctx)
		return
	}
	in, span := t.at(ctx, at, operation+" "+step, trace.SpanKindInternal, append(ofSaga(name, id),
		attribute.String("holdfast.step", step), attribute.Int("holdfast.attempt", try))...)
	outcome := ""
	_ = around(in, span, func(error) string { return outcome }, func(ctx context.Context) error {
		var why string
		if outcome, why = f(ctx); span != nil {
			guarded(func() { span.s.SetAttributes(attribute.String("holdfast.outcome", outcome)) })
		}
		if why != "" {
			return errors.New(why)
		}
		return nil
	})
}

func guarded(f func()) {
	defer func() { _ = recover() }()
	f()
}

// Headers are those of a message that is sent from ctx: its place, or where ctx is in no
// trace, at. nil where nobody traces it. A process that traces nothing passes at on.
func (t *Tracer) Headers(ctx context.Context, at holdfast.Trace) map[string]string {
	if here := t.Place(ctx); here.Parent != "" {
		at = here
	}
	if at = at.Bounded(); at.Parent == "" {
		return nil
	}
	return with(nil, at)
}

// Reply has a participant's reply taken inside a span, which goes on where the reply says.
func (t *Tracer) Reply(ctx context.Context, at holdfast.Trace, participant, id, step, outcome string,
	f func(context.Context) error) error {
	if t == nil {
		return f(ctx)
	}
	in, span := t.at(ctx, at, "reply "+clip(step, holdfast.MaxName), trace.SpanKindConsumer,
		attribute.String("holdfast.saga", clip(id, maxStatus)), attribute.String("holdfast.step", clip(step, maxStatus)),
		attribute.String("holdfast.participant", clip(participant, maxStatus)), attribute.String("holdfast.outcome", outcome))
	return around(in, span, plainClass, f)
}

// SagaEnded notes that a saga has ended, in a span that begins when it did; zero: that is
// not known. It returns at once, since workflow code must not wait for the application's
// exporter: the span is made soon after, see [Tracer.Flush].
func (t *Tracer) SagaEnded(at holdfast.Trace, name, id, state string, began time.Time) {
	if t == nil || !remote(at).IsValid() {
		return
	}
	ended := time.Now()
	t.later.do(func() {
		in, o := under(context.Background(), at)
		o = append(o, trace.WithAttributes(append(ofSaga(name, id), attribute.String("holdfast.state", state))...))
		if began.IsZero() {
			began = ended
		}
		if _, span := t.start(in, "saga "+name, append(o, trace.WithTimestamp(began))...); span != nil {
			span.at = []trace.SpanEndOption{trace.WithTimestamp(ended)}
			span.End(nil)
		}
	})
}
