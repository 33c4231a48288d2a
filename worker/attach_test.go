package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// TestTemporalAway: a worker whose lane is Express begins, and sends, without
// Temporal. Undecided half messages wait until it is there.
func TestTemporalAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	temporal := newRelay(t, s.at.Temporal)
	temporal.refuse(true)
	reader := sdk.NewManualReader()
	l := laneOf("express")
	o := l.options(s.options())
	o.Temporal = dialTemporal(t, temporal.address(), s.at.Namespace, nil)
	o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader))
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(trek) })

	id := newID()
	_, err := w.Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	s.oneEffect(id)
	committed, never := newID(), newID()
	s.orphan(l, committed, true)
	s.orphan(l, never, false)

	var unavailable *holdfast.UnavailableError
	for name, call := range map[string]func(m holdfast.Message) error{
		"Send":  func(m holdfast.Message) error { _, err := w.Send(s.ctx(), m, insert); return err },
		"Start": func(m holdfast.Message) error { _, err := w.Start(s.ctx(), "elsewhere", m); return err },
		"Begin": func(m holdfast.Message) error { _, err := w.Begin(s.ctx(), 0, m); return err },
		"StartSaga": func(m holdfast.Message) error {
			_, err := worker.StartSaga(s.ctx(), w.Worker, trek, trekker(m.ID, false))
			return err
		},
	} {
		m := order(newID())
		m.Lane = holdfast.Traced
		err := call(m)
		require.ErrorAs(t, err, &unavailable, name)
		require.Equal(t, "Temporal", unavailable.Part)
		require.Zero(t, s.ordered(m.ID))
	}
	until(t, "the Keeper tries to hand over", func() bool { return temporal.refusals() > 3 })
	require.False(t, s.hasRow(never), "nothing is decided")
	require.EqualValues(t, 0, connected(t, reader))

	temporal.refuse(false)
	s.oneEffect(committed)
	until(t, "the other is decided", func() bool { return s.hasRow(never) })
	s.requireRow(never, false)
	var m holdfast.Message
	until(t, "Traced sends", func() bool {
		m = order(newID())
		m.Lane = holdfast.Traced
		_, err := w.Send(s.ctx(), m, insert)
		return err == nil
	})
	s.oneEffect(m.ID)
	require.EqualValues(t, 1, connected(t, reader))
	w.stop()
	s.drained()
}

// connected reads the metric that says whether Temporal was reached.
func connected(t *testing.T, r sdk.Reader) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, r.Collect(t.Context(), &all))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if g, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == "holdfast.temporal.connected" {
				return g.DataPoints[0].Value
			}
		}
	}
	require.FailNow(t, "no metric")
	return 0
}

// TestTemporalRefuses: what Temporal refuses does not change by waiting.
func TestTemporalRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, c := range map[string]struct {
		change func(*worker.Options)
		want   string
	}{
		"no such namespace": {func(o *worker.Options) {
			o.Namespace = "nowhere"
			o.Temporal = dialTemporal(t, s.at.Temporal, o.Namespace, nil)
		}, "nowhere"},
		"another namespace than the client's": {func(o *worker.Options) { o.Namespace = "elsewhere" }, "give both the same"},
		"the same in the Express lane":        {func(o *worker.Options) { o.Namespace, o.Lane = "elsewhere", holdfast.Express }, "give both the same"},
	} {
		o := s.options()
		c.change(&o)
		w, err := worker.New(o)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err = w.Run(ctx)
		require.NoError(t, ctx.Err(), "%s: it ends by itself", name)
		require.ErrorContains(t, err, c.want, name)
	}
}

// TestNamespaceComesAndGoes: a worker of the Express lane goes on without its
// namespace, and so do consumers; what needs Temporal works once it is there, also
// again. Options.Namespace is not needed: the client has it.
func TestNamespaceComesAndGoes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	namespace := "late-" + s.at.Prefix
	o := s.options()
	o.Lane, o.Namespace = holdfast.Express, ""
	o.Temporal = dialTemporal(t, s.at.Temporal, namespace, nil)
	w := s.run(o, payments(s.effects))
	send := func(lane holdfast.Lane) error {
		m := order(newID())
		m.Lane = lane
		_, err := w.Send(s.ctx(), m, insert)
		if err == nil {
			s.oneEffect(m.ID)
		}
		return err
	}
	require.NoError(t, send(holdfast.Express))
	var away *holdfast.UnavailableError
	require.ErrorAs(t, send(holdfast.Traced), &away)
	require.Contains(t, away.Error(), "temporal operator namespace create")

	_, err := s.temporal.WorkflowService().RegisterNamespace(s.ctx(), &workflowservice.RegisterNamespaceRequest{Namespace: namespace,
		WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	require.NoError(t, err)
	until(t, "Traced sends", func() bool { return send(holdfast.Traced) == nil })

	_, err = s.temporal.OperatorService().DeleteNamespace(s.ctx(), &operatorservice.DeleteNamespaceRequest{Namespace: namespace})
	require.NoError(t, err)
	until(t, "Traced fails", func() bool { return send(holdfast.Traced) != nil })
	require.NoError(t, send(holdfast.Express))
	w.stop()
}

// TestTemporalRefusesLater: a Temporal that was away, and refuses when it is there,
// ends nothing that goes on without it.
func TestTemporalRefusesLater(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	temporal := newRelay(t, s.at.Temporal)
	temporal.refuse(true)
	o := s.options()
	o.Lane, o.Namespace = holdfast.Express, "nowhere"
	o.Temporal = dialTemporal(t, temporal.address(), o.Namespace, nil)
	w := s.run(o)
	traced := func() error {
		m := order(newID())
		m.Lane = holdfast.Traced
		_, err := w.Send(s.ctx(), m, insert)
		var unavailable *holdfast.UnavailableError
		require.ErrorAs(t, err, &unavailable)
		require.Equal(t, "Temporal", unavailable.Part)
		return err
	}
	require.NotContains(t, traced().Error(), "nowhere", "it is not reached")
	temporal.refuse(false)
	until(t, "Temporal refuses", func() bool { return strings.Contains(traced().Error(), "nowhere") })
	id := newID()
	_, err := w.Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	s.oneEffect(id)
	w.stop()
	require.Zero(t, s.drained())
}

// TestShutdownWithoutTemporal: a worker that never reached Temporal ends in good
// order.
func TestShutdownWithoutTemporal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.consuming(payments(s.effects))
	o := s.options()
	o.Lane = holdfast.Express
	o.Temporal = dialTemporal(t, unusedAddress(t), s.at.Namespace, nil)
	w := s.run(o)
	id := newID()
	_, err := w.Send(t.Context(), order(id), insert)
	require.NoError(t, err)
	w.stop()
	s.oneEffect(id)
	require.Zero(t, s.drained())
}
