package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	holdfast "github.com/holdfastmq/holdfast"
)

// Delivery is what a consumer's span says of what it gets.
type Delivery struct {
	Message holdfast.Message
	Known   holdfast.Delivery
	// Notice says that it is a compensation notice.
	Notice bool
}

// Process has handle try a delivery, inside a span that goes on where the message says. A
// message that says nothing begins a trace.
func (t *Tracer) Process(ctx context.Context, d Delivery, handle func(context.Context) error) error {
	if t == nil {
		return handle(ctx)
	}
	m, known := &d.Message, &d.Known
	in, o := under(ctx, holdfast.TraceOf(m.Headers))
	attributes := append(t.ofMessage(m, known.TxID, "process", semconv.MessagingOperationTypeProcess,
		t.prefix+".q."+known.Consumer), semconv.MessagingConsumerGroupName(known.Consumer),
		attribute.Int("holdfast.attempt", known.Attempt))
	for name, value := range map[string]string{"holdfast.group": known.Group, "holdfast.saga": known.Saga,
		"holdfast.step": known.Step} {
		if value != "" {
			attributes = append(attributes, attribute.String(name, clip(value, maxStatus)))
		}
	}
	if known.Redelivery > 0 {
		attributes = append(attributes, attribute.Int("holdfast.redelivery", known.Redelivery))
	}
	if known.Undo || d.Notice {
		attributes = append(attributes, attribute.Bool("holdfast.undo", true))
	}
	o = append(o, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attributes...))
	in, span := t.start(in, "process "+clip(m.Topic, holdfast.MaxName), o...)
	return around(in, span, plainClass, handle)
}

// Settled notes what a consumer did with a message whose try has ended: operation is retry,
// dead-letter or lost, and reason why. It is a span without length.
func (t *Tracer) Settled(operation, consumer, txID string, m *holdfast.Message, class holdfast.ErrorClass,
	reason string, more ...attribute.KeyValue) {
	if t == nil {
		return
	}
	attributes := append(t.ofMessage(m, txID, operation, semconv.MessagingOperationTypeSettle, t.prefix+".q."+consumer),
		semconv.MessagingConsumerGroupName(consumer))
	_, span := t.at(context.Background(), holdfast.TraceOf(m.Headers), operation+" "+clip(m.Topic, holdfast.MaxName),
		trace.SpanKindInternal, append(attributes, more...)...)
	span.end(errors.New(reason), string(class))
}

// Letter has a step of a dead letter run inside a span, as operation names it.
func (t *Tracer) Letter(ctx context.Context, operation string, d *holdfast.DeadLetter,
	f func(context.Context) error) error {
	if t == nil {
		return f(ctx)
	}
	attributes := append(t.ofMessage(&d.Message, d.TxID, operation, semconv.MessagingOperationTypeSettle, ""),
		semconv.MessagingConsumerGroupName(d.Failure.Consumer))
	in, span := t.at(ctx, holdfast.TraceOf(d.Message.Headers), operation+" "+clip(d.Message.Topic, holdfast.MaxName),
		trace.SpanKindInternal, attributes...)
	return around(in, span, plainClass, f)
}
