package keep

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/metrics"
)

// others are the Keepers of other processes.
type others []broker.KeeperStatus

func (others) KeepGroup(context.Context, broker.KeeperOptions) error { return nil }

func (others) FindHalfQueues(context.Context, string) ([]string, error) {
	return []string{"h1", "h2"}, nil
}

// Inspect says that the second half queue has as many consumers as there are others.
func (o others) Inspect(context.Context, ...string) (broker.Info, error) {
	return broker.Info{Queues: []broker.QueueInfo{{Name: "h1", Consumers: 1}, {Name: "h2", Consumers: len(o)}}}, nil
}

func (o others) Ask(context.Context, time.Duration) ([]broker.ProcessStatus, error) {
	return []broker.ProcessStatus{{Keepers: o}}, nil
}

// TestWithoutTemporal: a process that cannot hand over yields to one that can, and where
// there is none, people are told once.
func TestWithoutTemporal(t *testing.T) {
	m, err := metrics.New(nil)
	require.NoError(t, err)
	defer func() { _ = m.Close() }()
	var alerts []holdfast.Alert
	k := New(Options{Group: "orders", Sends: true, Metrics: m, Logger: slog.New(slog.DiscardHandler),
		Alert: func(a holdfast.Alert) { alerts = append(alerts, a) }})
	halves := []holdfast.Half{{TxID: "1", Messages: []holdfast.Message{{Topic: "placed"}}}, {TxID: "2"}}
	handOver := func(o others) []error {
		k.Broker, k.without.asked = o, time.Time{}
		return k.handOver(t.Context(), halves)
	}
	able := broker.KeeperStatus{Group: "orders", Subscribed: true}
	elsewhere, unable := able, able
	elsewhere.Group, unable.Unable = "shop", "it has no Temporal"

	require.Equal(t, []error{broker.ErrYield, broker.ErrYield}, handOver(others{unable, able}))
	require.Empty(t, alerts)
	for range 2 {
		var away *holdfast.UnavailableError
		errs := handOver(others{unable, elsewhere})
		require.Len(t, errs, 2)
		require.ErrorAs(t, errors.Join(errs...), &away)
	}
	require.Len(t, alerts, 1)
	require.Equal(t, holdfast.AlertUndecidedWaits, alerts[0].Kind)
	require.Equal(t, "placed", alerts[0].Topic)

	require.False(t, k.OutcomesNeeded(t.Context()))
	unable.FailingSince = time.Now()
	k.Broker = others{unable}
	require.True(t, k.OutcomesNeeded(t.Context()), "half messages wait")
}

// TestUnkept: that nobody keeps a half queue is seen at once, and told once it has lasted.
func TestUnkept(t *testing.T) {
	var alerts []holdfast.Alert
	k := New(Options{Group: "orders", Logger: slog.New(slog.DiscardHandler),
		Alert: func(a holdfast.Alert) { alerts = append(alerts, a) }})
	look := func(o others) string {
		k.Broker = o
		require.NoError(t, k.look(t.Context()))
		return k.Unkept().What
	}
	require.Empty(t, look(others{{}}))
	require.Contains(t, look(nil), "no process keeps h2")
	require.Empty(t, alerts, "it may be that the others are just being deployed")
	k.Grace = 0
	for range 2 {
		require.NotEmpty(t, look(nil))
	}
	require.Len(t, alerts, 1)
	require.Equal(t, holdfast.AlertUndecidedWaits, alerts[0].Kind)
	require.Empty(t, look(others{{}}))
	look(nil)
	require.Len(t, alerts, 2, "anew")
}
