package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// traced is a process's tracing, whose spans can be read.
type traced struct {
	t testing.TB
	*sdktrace.TracerProvider
	spans *tracetest.InMemoryExporter
}

func newTraced(t testing.TB) *traced {
	spans := tracetest.NewInMemoryExporter()
	p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return &traced{t: t, TracerProvider: p, spans: spans}
}

func (tr *traced) on(o *worker.Options) { o.TracerProvider = tr }

// call is a span of a caller of ours, which has ended.
func (tr *traced) call(ctx context.Context) (context.Context, trace.SpanContext) {
	ctx, span := tr.Tracer("test").Start(ctx, "call")
	span.End()
	return ctx, span.SpanContext()
}

// named waits for a span of that name in a trace.
func (tr *traced) named(id trace.TraceID, name string) (found tracetest.SpanStub) {
	tr.t.Helper()
	until(tr.t, "a span "+name+" of trace "+id.String(), func() bool {
		for _, s := range tr.spans.GetSpans() {
			if s.Name == name && s.SpanContext.TraceID() == id {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// all waits for a span of that name, in whichever trace, for which ok holds.
func (tr *traced) where(name string, ok func(tracetest.SpanStub) bool) (found tracetest.SpanStub) {
	tr.t.Helper()
	until(tr.t, "a span "+name, func() bool {
		i := slices.IndexFunc(tr.spans.GetSpans(), func(s tracetest.SpanStub) bool { return s.Name == name && ok(s) })
		if i >= 0 {
			found = tr.spans.GetSpans()[i]
		}
		return i >= 0
	})
	return found
}

func attributeOf(s tracetest.SpanStub, name string) string {
	for _, a := range s.Attributes {
		if a.Key == attribute.Key(name) {
			return a.Value.String()
		}
	}
	return ""
}

// TestOneTrace: from a caller through its transaction to a consumer in another process,
// and through what that sends to a third one.
func TestOneTrace(t *testing.T) {
	for _, lane := range []holdfast.Lane{holdfast.Express, holdfast.Traced} {
		t.Run(string(lane), func(t *testing.T) {
			s := newSite(t)
			orders, shop, last := newTraced(t), newTraced(t), newTraced(t)
			w := s.producer(orders.on, func(o *worker.Options) { o.Lane = lane })
			forwards := s.run(worker.Options{Group: "forwarders", Temporal: s.temporal, Namespace: s.at.Namespace,
				AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), Lane: lane, TracerProvider: shop},
				payments(s.effects))
			s.consumers["forward"], s.consumers["sink"] = true, true
			_ = forwards
			hand := s.run(worker.Options{Group: "hands", Temporal: s.temporal, Namespace: s.at.Namespace,
				AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), TracerProvider: last},
				worker.Consumer{Name: "sink", Topics: []string{"paid"}, HandleAtLeastOnce: func(context.Context, holdfast.Message) error {
					return nil
				}},
				worker.Consumer{Name: "forward", Topics: []string{placed}, HandleAtLeastOnce: func(ctx context.Context, m holdfast.Message) error {
					_, err := forwards.Send(ctx, holdfast.Message{Topic: "paid", Headers: m.Headers}, // and its old place
						func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
					return err
				}})
			_ = hand

			ctx, caller := orders.call(s.ctx())
			m := order(newID())
			m.ID, m.Headers = "", map[string]string{"tenant": "north"}
			receipt, err := w.Send(ctx, m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
				require.Equal(t, caller.TraceID(), trace.SpanContextFromContext(ctx).TraceID())
				m.Headers = map[string]string{"tenant": "south"} // without the trace
				return insert(ctx, tx, m)
			})
			require.NoError(t, err)
			id := caller.TraceID()

			send := orders.named(id, "send "+placed)
			require.Equal(t, caller.SpanID(), send.Parent.SpanID())
			require.Equal(t, trace.SpanKindProducer, send.SpanKind)
			require.Equal(t, receipt.TxID, attributeOf(send, "holdfast.transaction"))
			require.Equal(t, string(lane), attributeOf(send, "holdfast.lane"))
			require.Equal(t, "commit", attributeOf(send, "holdfast.resolution"))
			for _, name := range []string{"half " + placed, "local transaction", "publish " + placed} {
				require.Equal(t, send.SpanContext.SpanID(), orders.named(id, name).Parent.SpanID(), name)
			}

			process := shop.named(id, "process "+placed)
			require.True(t, process.Parent.IsRemote())
			require.Equal(t, send.SpanContext.SpanID(), process.Parent.SpanID())
			require.Equal(t, trace.SpanKindConsumer, process.SpanKind)
			for name, want := range map[string]string{
				"messaging.system": "rabbitmq", "messaging.operation.type": "process", "messaging.operation.name": "process",
				"messaging.destination.name": fmt.Sprintf("%s.topics:%s:%s.q.payments", s.at.Prefix, placed, s.at.Prefix),
				"messaging.message.id":       receipt.TxID, "messaging.consumer.group.name": "payments",
				"messaging.rabbitmq.destination.routing_key": placed, "holdfast.attempt": "1",
			} {
				require.Equal(t, want, attributeOf(process, name), name)
			}
			e := s.oneEffect(receipt.TxID)
			require.Contains(t, e.Headers, `"tenant":"south"`)
			require.Contains(t, e.Headers, id.String())

			forward := last.named(id, "process "+placed)
			again := shop.named(id, "send paid")
			require.Equal(t, forward.SpanContext.SpanID(), again.Parent.SpanID())
			require.Equal(t, again.SpanContext.SpanID(), last.named(id, "process paid").Parent.SpanID())
		})
	}
}

// TestEachMemberItsOwnTrace: the callers of a cohort share a workflow, and no trace.
func TestEachMemberItsOwnTrace(t *testing.T) {
	s := newSite(t)
	orders, shop := newTraced(t), newTraced(t)
	w := s.patient(orders.on)
	s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), TracerProvider: shop},
		payments(s.effects))
	callers := make([]trace.SpanContext, 6)
	answers := s.together(w, len(callers), func(i int) (context.Context, holdfast.Message, worker.Local) {
		ctx := s.ctx()
		if i > 0 { // one of them is not traced
			ctx, callers[i] = orders.call(ctx)
		}
		return ctx, plain(i), insert
	})
	shared := 0
	seen := map[trace.TraceID]bool{}
	for i, a := range answers {
		require.NoError(t, a.err)
		if inCohort(a.receipt) {
			shared++
		}
		of := func(span tracetest.SpanStub) bool { return attributeOf(span, "messaging.message.id") == a.receipt.TxID }
		process := shop.where("process "+placed, of)
		id := process.SpanContext.TraceID()
		require.False(t, seen[id], "a trace of its own")
		seen[id] = true
		if i > 0 {
			require.Equal(t, callers[i].TraceID(), id, "caller %d", i)
		}
		publish := orders.where("publish "+placed, of)
		require.Equal(t, id, publish.SpanContext.TraceID())
	}
	require.Greater(t, shared, 1)
	all := orders.where("publish a cohort", func(span tracetest.SpanStub) bool { return len(span.Links) > 1 })
	require.False(t, all.Parent.IsValid())
	require.False(t, seen[all.SpanContext.TraceID()], "it is none of its members'")
	linked := 0
	for _, l := range all.Links {
		require.True(t, seen[l.SpanContext.TraceID()])
		publish := orders.named(l.SpanContext.TraceID(), "publish "+placed)
		if len(publish.Links) == 1 && publish.Links[0].SpanContext.SpanID() == all.SpanContext.SpanID() {
			linked++
		}
	}
	require.Equal(t, len(all.Links), linked, "members lead to what they share")
}

// TestTraceOfRetriesAndDeadLetters: a message's tries, its death, its redelivery and its
// compensation are in its trace.
func TestTraceOfRetriesAndDeadLetters(t *testing.T) {
	s := newSite(t)
	orders, shop := newTraced(t), newTraced(t)
	compensated := make(chan trace.TraceID, 1)
	o := s.options()
	orders.on(&o)
	w := s.runWith(o, func(w *worker.Worker) {
		w.Compensate(placed, func(ctx context.Context, _ *gorm.DB, _ holdfast.Message, _ holdfast.Failure) error {
			compensated <- trace.SpanContextFromContext(ctx).TraceID()
			return nil
		})
	})
	undone := make(chan trace.TraceID, 1)
	others := payments(s.effects)
	others.Name, others.Undo = "others", func(ctx context.Context, _ *gorm.DB, _ holdfast.Message, _ holdfast.Failure) error {
		undone <- trace.SpanContextFromContext(ctx).TraceID()
		return nil
	}
	failing := payments(s.effects)
	failing.Handle = func(context.Context, *gorm.DB, holdfast.Message) error { return errors.New("the ledger is wrong") }
	failing.Tries, failing.DeadLetters = 2, holdfast.Policy{Action: holdfast.PolicyCompensate}
	failing.Ladder = []time.Duration{time.Second}
	s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), TracerProvider: shop},
		failing, others)
	ctx, caller := orders.call(s.ctx())
	m := order(newID())
	_, err := w.Send(ctx, m, insert)
	require.NoError(t, err)
	require.Equal(t, caller.TraceID(), next(t, compensated))
	require.Equal(t, caller.TraceID(), next(t, undone))
	shop.named(caller.TraceID(), "process "+placed)
	retry := shop.named(caller.TraceID(), "retry "+placed)
	require.Equal(t, "the ledger is wrong", retry.Status.Description)
	shop.named(caller.TraceID(), "dead-letter "+placed)
	orders.named(caller.TraceID(), "compensate "+placed)
	shop.named(caller.TraceID(), "process "+placed+holdfast.CompensatedSuffix)
	tries := 0
	for _, span := range shop.spans.GetSpans() {
		if span.Name == "process "+placed && attributeOf(span, "messaging.consumer.group.name") == "payments" {
			require.Equal(t, "Error", span.Status.Code.String())
			tries++
		}
	}
	require.Equal(t, 3, tries)
}

// TestTraceOfAHandOver: what a process left undecided is handed over, checked back and
// delivered in the trace of who sent it.
func TestTraceOfAHandOver(t *testing.T) {
	s := newSite(t)
	orders, shop := newTraced(t), newTraced(t)
	o := hurried(s.options())
	o.Lane = holdfast.Express
	orders.on(&o)
	w := s.run(o)
	s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), TracerProvider: shop},
		payments(s.effects))
	var ids []trace.TraceID
	for range 3 {
		ctx, caller := orders.call(s.ctx())
		split, err := w.Begin(ctx, 0, plain(1))
		if err != nil {
			require.ErrorIs(t, err, holdfast.ErrNotStored)
			continue
		}
		if s.orders.Transaction(func(tx *gorm.DB) error { // and nobody says so
			_, err := split.Barrier(ctx, tx)
			return err
		}) == nil {
			ids = append(ids, caller.TraceID())
		}
	}
	require.NotEmpty(t, ids)
	for _, id := range ids {
		orders.named(id, "begin "+placed)
		orders.named(id, "hand over "+placed)
		require.Equal(t, "commit", attributeOf(orders.named(id, "check-back "+placed), "holdfast.resolution"))
		orders.named(id, "publish "+placed)
		shop.named(id, "process "+placed)
	}
}

// TestRunInASpan: a program that calls Run inside a span has its messages in their own
// traces all the same; the context's other values are there.
func TestRunInASpan(t *testing.T) {
	s := newSite(t)
	shop := newTraced(t)
	type key struct{}
	kept := make(chan any, 10)
	c := payments(s.effects)
	handle := c.Handle
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		kept <- ctx.Value(key{})
		return handle(ctx, tx, m)
	}
	w, err := worker.New(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), TracerProvider: shop})
	require.NoError(t, err)
	s.consumers[c.Name] = true
	w.Consume(c)
	ctx, caller := shop.call(context.WithValue(context.Background(), key{}, "kept"))
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, next(t, ended)) })
	next(t, w.Ready())
	id := newID()
	s.foreign(s.broker(), foreignWith(id, nil))
	s.oneEffect(id)
	require.Equal(t, "kept", next(t, kept))
	process := shop.where("process "+placed, func(tracetest.SpanStub) bool { return true })
	require.NotEqual(t, caller.TraceID(), process.SpanContext.TraceID())
	require.False(t, process.Parent.IsValid())
}

func foreignWith(id string, headers map[string]string) amqp.Publishing {
	m := amqp.Publishing{MessageId: id, Headers: amqp.Table{}, Body: []byte("from elsewhere")}
	for name, value := range headers {
		m.Headers[name] = value
	}
	return m
}

// TestHostileTraces: what is no trace is none, and the message is handled all the same.
func TestHostileTraces(t *testing.T) {
	s := newSite(t)
	shop := newTraced(t)
	s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), TracerProvider: shop},
		payments(s.effects))
	b := s.broker()
	good := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, headers := range map[string]map[string]string{
		"long":     {"traceparent": good + string(slices.Repeat([]byte("a"), 60<<10))},
		"controls": {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-\x00\x1b"},
		"zeros":    {"traceparent": "00-00000000000000000000000000000000-0000000000000000-01"},
	} {
		id := newID()
		s.foreign(b, foreignWith(id, headers))
		s.oneEffect(id)
		process := shop.where("process "+placed, func(span tracetest.SpanStub) bool {
			return attributeOf(span, "messaging.message.id") == id
		})
		require.False(t, process.Parent.IsValid(), name)
	}
	id := newID()
	s.foreign(b, foreignWith(id, map[string]string{"traceparent": good, "tracestate": "\x01" + string(slices.Repeat([]byte("a"), 4<<10))}))
	s.oneEffect(id)
	process := shop.named(trace.TraceID{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36}, "process "+placed)
	require.Zero(t, process.SpanContext.TraceState().Len())
}

// brokenTracer panics at every second span, and at the end of each.
type brokenTracer struct {
	noop.TracerProvider
	panics atomic.Int64
}

func (b *brokenTracer) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return &brokenOne{b: b}
}

type brokenOne struct {
	noop.Tracer
	b *brokenTracer
}

type brokenSpan struct {
	noop.Span
	b *brokenTracer
}

func (o *brokenOne) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	if o.b.panics.Add(1)%2 == 0 {
		panic("the tracer is broken")
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	return trace.ContextWithSpanContext(ctx, sc), brokenSpan{b: o.b}
}

func (s brokenSpan) End(...trace.SpanEndOption) {
	s.b.panics.Add(1)
	panic("the exporter is broken")
}

// TestBrokenTracer: it loses nothing.
func TestBrokenTracer(t *testing.T) {
	s := newSite(t)
	broken := new(brokenTracer)
	for _, lane := range []holdfast.Lane{holdfast.Express, holdfast.Traced} {
		w := s.producer(func(o *worker.Options) { o.TracerProvider, o.Lane = broken, lane })
		consumer := s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), TracerProvider: broken},
			payments(s.effects))
		for range 4 {
			id := newID()
			_, err := w.Send(s.ctx(), order(id), insert)
			require.NoError(t, err)
			require.Equal(t, 1, s.ordered(id))
			s.oneEffect(id)
		}
		consumer.stop()
		w.stop()
	}
	require.Greater(t, broken.panics.Load(), int64(10))
}

// TestTraceLeavesRoom: a message whose headers are as long as they may be is sent without
// its trace, not refused because of it.
func TestTraceLeavesRoom(t *testing.T) {
	s := newSite(t)
	orders := newTraced(t)
	w := s.producer(orders.on, func(o *worker.Options) { o.Lane = holdfast.Express })
	s.consuming(payments(s.effects))
	ctx, _ := orders.call(s.ctx())
	full := string(slices.Repeat([]byte("x"), holdfast.MaxHeaders-len("note")))
	m := order(newID())
	m.Headers = map[string]string{"note": full}
	_, err := w.Send(ctx, m, insert)
	require.NoError(t, err)
	require.NotContains(t, s.oneEffect(m.ID).Headers, "traceparent")
	m = order(newID())
	_, err = w.Send(ctx, m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		m.Headers["note"] = full // in its place
		return insert(ctx, tx, m)
	})
	require.NoError(t, err)
	require.NotContains(t, s.oneEffect(m.ID).Headers, "traceparent")
}
