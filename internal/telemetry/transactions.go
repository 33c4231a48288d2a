package telemetry

import (
	"context"
	"errors"
	"maps"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	holdfast "github.com/holdfastmq/holdfast"
)

// Sending is the span of a transaction, from the call until its caller is answered. nil is
// none.
type Sending struct{ span *Span }

// Send begins the span of a transaction, as operation names it: send, start or begin. What
// it returns of ms carries the span, so that all that becomes of the messages goes on in
// this trace; but a message that the caller gave a place in another trace keeps that. fits,
// if not nil, says whether messages can be published: where the headers of the trace leave
// no room, they are left out.
func (t *Tracer) Send(ctx context.Context, operation, group string, lane holdfast.Lane, ms []holdfast.Message,
	fits func([]holdfast.Message) error) (context.Context, []holdfast.Message, *Sending) {
	if t == nil || len(ms) == 0 {
		return ctx, ms, nil
	}
	in := ctx
	if first := remote(holdfast.TraceOf(ms[0].Headers)); first.IsValid() && !spanOf(ctx).IsValid() {
		in = trace.ContextWithRemoteSpanContext(ctx, first)
	}
	attributes := append(t.ofMessage(&ms[0], ms[0].ID, operation, semconv.MessagingOperationTypeSend, ""),
		attribute.String("holdfast.group", group), attribute.String("holdfast.lane", string(lane)))
	if len(ms) > 1 {
		attributes = append(attributes, semconv.MessagingBatchMessageCount(len(ms)))
	}
	out, span := t.start(in, operation+" "+clip(ms[0].Topic, holdfast.MaxName),
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attributes...))
	if span == nil {
		return ctx, ms, nil
	}
	return out, placed(ms, placeOf(out), fits), &Sending{span}
}

// placed are ms with a place in a trace.
func placed(ms []holdfast.Message, at holdfast.Trace, fits func([]holdfast.Message) error) []holdfast.Message {
	here := remote(at)
	if !here.IsValid() {
		return ms
	}
	out := make([]holdfast.Message, len(ms))
	for i, m := range ms {
		if from := remote(holdfast.TraceOf(m.Headers)); !from.IsValid() || from.TraceID() == here.TraceID() {
			m.Headers = with(m.Headers, at)
		}
		out[i] = m
	}
	if !roomFor(out) || fits != nil && fits(out) != nil {
		return ms
	}
	return out
}

// with is a copy of headers with a place in a trace.
func with(headers map[string]string, at holdfast.Trace) map[string]string {
	out := make(map[string]string, len(headers)+2)
	maps.Copy(out, headers)
	delete(out, holdfast.HeaderTraceState)
	out[holdfast.HeaderTraceParent] = at.Parent
	if at.State != "" {
		out[holdfast.HeaderTraceState] = at.State
	}
	return out
}

// roomFor reports whether the headers of ms are within their limits.
func roomFor(ms []holdfast.Message) bool {
	all := 0
	for _, m := range ms {
		size := 0
		for name, value := range m.Headers {
			size += len(name) + len(value)
		}
		if all += size; size > holdfast.MaxHeaders {
			return false
		}
	}
	return all <= 4*holdfast.MaxHeaders
}

// End ends the span with what the caller is told.
func (s *Sending) End(r holdfast.Receipt, err error) {
	if s == nil {
		return
	}
	more := []attribute.KeyValue{attribute.String("holdfast.resolution", r.Resolution.String())}
	if r.TxID != "" {
		more = append(more, transaction(r.TxID))
	}
	s.span.end(err, classOf(err), more...)
}

// classOf is what kind of error the caller of a transaction is told.
func classOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, holdfast.ErrUndecided):
		return "undecided"
	case errors.Is(err, holdfast.ErrDeliveryPending):
		return "pending"
	case errors.Is(err, holdfast.ErrRolledBack):
		return "rollback"
	}
	return "refused"
}

// errNotReturned is what is known of a function of the application that panicked, or ended
// its goroutine.
var errNotReturned = errors.New("it panicked, or ended its goroutine")

// around has f inside a span, which ends however f does.
func around(ctx context.Context, span *Span, class func(error) string, f func(context.Context) error) (err error) {
	if span == nil {
		return f(ctx)
	}
	returned := false
	defer func() {
		if !returned {
			span.end(errNotReturned, string(holdfast.ClassPanic))
		}
	}()
	err = f(ctx)
	returned = true
	span.end(err, class(err))
	return err
}

func plainClass(err error) string {
	if holdfast.IsPermanent(err) {
		return string(holdfast.ClassPermanent)
	}
	return string(holdfast.ClassError)
}

// Local has a local transaction run inside a span. Messages whose headers it replaces keep
// their place in the trace, unless that would be too long: for fits, see [Tracer.Send].
func (t *Tracer) Local(ctx context.Context, ms []*holdfast.Message, fits func([]holdfast.Message) error,
	f func(context.Context) error) error {
	if t == nil || len(ms) == 0 {
		return f(ctx)
	}
	was := make([]holdfast.Trace, len(ms))
	for i, m := range ms {
		was[i] = holdfast.TraceOf(m.Headers)
	}
	in, span := t.at(ctx, was[0], "local transaction", trace.SpanKindInternal)
	err := around(in, span, plainClass, f)
	if err == nil {
		keep(ms, was, fits)
	}
	return err
}

// keep gives ms their places back, where somebody has removed them, or takes them from ms
// where they would make the headers too long.
func keep(ms []*holdfast.Message, was []holdfast.Trace, fits func([]holdfast.Message) error) {
	now := make([]holdfast.Message, 0, len(ms))
	for i, m := range ms {
		if m == nil {
			return // it is refused
		}
		if _, has := m.Headers[holdfast.HeaderTraceParent]; !has && was[i].Parent != "" {
			m.Headers = with(m.Headers, was[i])
		}
		now = append(now, *m)
	}
	if roomFor(now) && (fits == nil || fits(now) == nil) {
		return
	}
	for i, m := range ms {
		if was[i].Parent != "" && m.Headers[holdfast.HeaderTraceParent] == was[i].Parent {
			m.Headers = maps.Clone(m.Headers)
			delete(m.Headers, holdfast.HeaderTraceParent)
			delete(m.Headers, holdfast.HeaderTraceState)
		}
	}
}

// Publisher stores the half messages of a step, and delivers messages.
type Publisher interface {
	PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error))
	messagePublisher
}

// LaneBroker is what sends transactions without a workflow.
type LaneBroker interface {
	PublishHalf(ctx context.Context, h holdfast.Half) error
	messagePublisher
	Settle(group, txID string, r holdfast.Resolution)
	Fits(group, txID string, ms []holdfast.Message) error
}

type messagePublisher interface {
	PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error
}

type publisher struct {
	t *Tracer
	Publisher
}

type laneBroker struct {
	t *Tracer
	LaneBroker
}

// Publisher is p with spans.
func (t *Tracer) Publisher(p Publisher) Publisher {
	if t == nil {
		return p
	}
	return publisher{t, p}
}

// LaneBroker is b with spans.
func (t *Tracer) LaneBroker(b LaneBroker) LaneBroker {
	if t == nil {
		return b
	}
	return laneBroker{t, b}
}

// placeOfHalf is that of its first message, or of its saga, and what it is called.
func placeOfHalf(h *holdfast.Half) (at holdfast.Trace, name string) {
	switch {
	case h.Saga != nil:
		return h.Saga.Trace, "saga " + h.Saga.Name
	case len(h.Messages) > 0:
		return holdfast.TraceOf(h.Messages[0].Headers), clip(h.Messages[0].Topic, holdfast.MaxName)
	}
	return holdfast.Trace{}, ""
}

// PublishHalf stores a half message.
func (b laneBroker) PublishHalf(ctx context.Context, h holdfast.Half) error {
	in, span := b.t.half(ctx, &h)
	return around(in, span, plainClass, func(ctx context.Context) error { return b.LaneBroker.PublishHalf(ctx, h) })
}

// PublishMessages delivers messages.
func (b laneBroker) PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error {
	return b.t.publish(ctx, b.LaneBroker, group, txID, ms)
}

// PublishHalves stores half messages, with a span for each.
func (p publisher) PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error)) {
	in, spans := make([]context.Context, len(hs)), make([]*Span, len(hs))
	for i := range hs {
		in[i], spans[i] = p.t.half(ctxs[i], &hs[i])
	}
	p.Publisher.PublishHalves(in, hs, func(i int, err error) {
		spans[i].end(err, plainClass(err))
		done(i, err)
	})
}

// PublishMessages delivers messages.
func (p publisher) PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error {
	return p.t.publish(ctx, p.Publisher, group, txID, ms)
}

// half begins the span of a half message.
func (t *Tracer) half(ctx context.Context, h *holdfast.Half) (context.Context, *Span) {
	at, name := placeOfHalf(h)
	return t.at(ctx, at, "half "+name, trace.SpanKindClient, semconv.MessagingSystemRabbitMQ,
		semconv.MessagingOperationName("half"), semconv.MessagingOperationTypeSend,
		semconv.MessagingDestinationName(t.prefix+".half"), transaction(h.TxID))
}

// publish delivers messages through p, with a span in each trace that they belong to.
func (t *Tracer) publish(ctx context.Context, p messagePublisher, group, txID string, ms []holdfast.Message) error {
	var spans []*Span
	seen := map[trace.TraceID]bool{}
	in := ctx
	for i := range ms {
		at := holdfast.TraceOf(ms[i].Headers)
		id := remote(at).TraceID()
		if seen[id] {
			continue
		}
		seen[id] = true
		attributes := append(t.ofMessage(&ms[i], txID, "publish", semconv.MessagingOperationTypeSend, ""),
			semconv.MessagingBatchMessageCount(len(ms)))
		name := "publish " + clip(ms[i].Topic, holdfast.MaxName)
		if c, span := t.at(ctx, at, name, trace.SpanKindClient, attributes...); span != nil {
			if spans = append(spans, span); len(spans) == 1 {
				in = c
			}
		}
	}
	err := p.PublishMessages(in, group, txID, ms)
	for _, span := range spans {
		span.end(err, plainClass(err))
	}
	return err
}

// Many begins the span of a step about many, each of which has its own trace: this span is
// in none of them, and has links to all. For one, or where nobody is traced, there is none.
func (t *Tracer) Many(ctx context.Context, name string, n int,
	member func(int) holdfast.Trace) (context.Context, *Span) {
	if t == nil || n < 2 {
		return ctx, nil
	}
	var links []trace.Link
	for i := range n {
		if from := remote(member(i)); from.IsValid() && len(links) < maxLinks {
			links = append(links, trace.Link{SpanContext: from})
		}
	}
	if len(links) == 0 {
		return ctx, nil
	}
	return t.start(ctx, name, trace.WithNewRoot(), trace.WithLinks(links...),
		trace.WithAttributes(attribute.Int("holdfast.members", n)))
}

// CheckBack begins the span of a check-back of a transaction.
func (t *Tracer) CheckBack(ctx context.Context, txID string, ms []holdfast.Message) (context.Context, *Span) {
	if t == nil || len(ms) == 0 {
		return ctx, nil
	}
	return t.at(ctx, holdfast.TraceOf(ms[0].Headers), "check-back "+clip(ms[0].Topic, holdfast.MaxName),
		trace.SpanKindInternal, transaction(txID))
}

// Resolved ends the span of a check-back: why is what is said of an answer that is not known.
func (s *Span) Resolved(r holdfast.Resolution, why string) {
	if s == nil {
		return
	}
	var err error
	if r == holdfast.Unknown {
		err = errors.New(why)
	}
	s.end(err, "unknown", attribute.String("holdfast.resolution", r.String()))
}

// HandOver begins the spans of half messages that are handed over to Temporal, and of the
// sweep if they are several; end ends them.
func (t *Tracer) HandOver(ctx context.Context, halves []holdfast.Half) (in context.Context, end func(errs []error)) {
	if t == nil {
		return ctx, func([]error) {}
	}
	in, all := t.Many(ctx, "hand over", len(halves), func(i int) holdfast.Trace {
		at, _ := placeOfHalf(&halves[i])
		return at
	})
	spans := make([]*Span, len(halves))
	for i := range halves {
		at, name := placeOfHalf(&halves[i])
		_, spans[i] = t.at(in, at, "hand over "+name, trace.SpanKindInternal, transaction(halves[i].TxID))
	}
	return in, func(errs []error) {
		for i, span := range spans {
			span.End(errs[i])
		}
		all.End(nil)
	}
}
