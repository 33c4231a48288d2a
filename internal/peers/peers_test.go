package peers

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// others answers as other processes would.
type others struct {
	broker.ProcessStatus // of the process that asks
	answers              []broker.ProcessStatus
	same                 []broker.Installation
}

func (o *others) Ask(context.Context, time.Duration) ([]broker.ProcessStatus, error) {
	return o.answers, nil
}

func (o *others) Answers(p broker.ProcessStatus) bool { return p.ID == o.ID }

func (o *others) SameTaskQueue(context.Context, string) ([]broker.Installation, error) {
	return o.same, nil
}

func watched(alerts *[]holdfast.Alert) *Peers {
	return New(Options{Prefix: "p", Group: "orders", Instance: "pod-0", Temporal: true,
		Logger: slog.New(slog.DiscardHandler), Alert: func(a holdfast.Alert) { *alerts = append(*alerts, a) }})
}

// TestNamesake: one that goes again before the next look is no alert; one that stays is
// told of once.
func TestNamesake(t *testing.T) {
	status := func(id, group string) broker.ProcessStatus {
		return broker.ProcessStatus{ID: id, Instance: "pod-0", Databases: []broker.DatabaseStatus{{Group: group}}}
	}
	mine, namesake, stranger := status("mine", "orders"), status("other", "orders"), status("third", "shop")
	var alerts []holdfast.Alert
	p, b := watched(&alerts), &others{ProcessStatus: mine}
	look := func(answers ...broker.ProcessStatus) bool { return p.compareNames(answers, b) }
	require.False(t, look(mine, stranger))
	require.True(t, look(mine, namesake))
	require.False(t, look(mine))
	require.True(t, look(mine, namesake))
	require.Empty(t, alerts)
	require.True(t, look(mine, namesake))
	require.True(t, look(mine, namesake))
	require.Len(t, alerts, 1)
	require.Equal(t, holdfast.AlertSameInstance, alerts[0].Kind)
}

// TestSharedTaskQueue: installations whose task queue is this one's are named.
func TestSharedTaskQueue(t *testing.T) {
	p, b := watched(nil), &others{}
	p.compareInstallations(t.Context(), b)
	require.Empty(t, p.SharedTaskQueue().What)
	b.same = []broker.Installation{{Prefix: "p.orders", Group: "eu"}}
	p.compareInstallations(t.Context(), b)
	require.Contains(t, p.SharedTaskQueue().What, "group eu with the prefix p.orders")
	b.same = nil
	p.compareInstallations(t.Context(), b)
	require.Empty(t, p.SharedTaskQueue().What)
}
