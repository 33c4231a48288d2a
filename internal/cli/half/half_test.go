package half

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/golden"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
)

// keeperAt is a process with Keepers of group g.
func keeperAt(name string, all ...broker.KeeperStatus) (p broker.ProcessStatus) {
	for p.Instance = name; len(p.Keepers) < len(all); {
		k := all[len(p.Keepers)]
		k.Group, k.CheckAfter = "g", 10*time.Second
		p.Keepers = append(p.Keepers, k)
	}
	return p
}

func TestPrintHalfStats(t *testing.T) {
	now := time.Date(2026, 3, 4, 23, 59, 58, 0, time.UTC)
	there := broker.QueueInfo{Name: "x.half.g", Exists: true, Messages: 1200, Consumers: 2}
	away := keeperAt("a", broker.KeeperStatus{Active: true, Held: 40, Undecided: 34, OldestAge: 90 * time.Second,
		KeeperCounts: broker.KeeperCounts{Matched: 17, HandedOver: 2, Failed: 9, Malformed: 1}, FailingSince: now.Add(-80 * time.Second), LastError: "Temporal cannot be\nreached"})
	late := keeperAt("a", broker.KeeperStatus{Queue: 2, Active: true, Undecided: 1, OldestAge: 31 * time.Second})
	yet := []broker.ProcessStatus{keeperAt("a", broker.KeeperStatus{Queue: 3}), keeperAt("b", broker.KeeperStatus{Queue: 3})}
	var out bytes.Buffer
	require.NoError(t, printHalfStats(&out, []processes.KeptQueue{
		processes.Kept("g", 1, there, []broker.ProcessStatus{away, keeperAt("b", broker.KeeperStatus{})}),
		processes.Kept("g", 2, there, []broker.ProcessStatus{late}),
		processes.Kept("g", 3, there, yet),
		processes.Kept("g", 4, broker.QueueInfo{Exists: true}, nil),
		processes.Kept("g", 5, broker.QueueInfo{Exists: true, Consumers: 1}, nil),
		processes.Kept("h", 1, broker.QueueInfo{Name: "x.half.h"}, nil),
		processes.Kept("g", 1, broker.QueueInfo{Name: "x.half.g"}, []broker.ProcessStatus{keeperAt("b", broker.KeeperStatus{})}),
	}, now))
	golden.Equal(t, "half-stats.txt", out.String())
	out.Reset()
	require.NoError(t, printHalfStats(&out, nil, now))
	require.Contains(t, out.String(), "No Keeper answers.")
}

func TestHeldHalves(t *testing.T) {
	answers := []broker.ProcessStatus{
		keeperAt("a", broker.KeeperStatus{Oldest: []broker.PeekedHalf{{Tx: "2", Age: 2 * time.Second, Lane: holdfast.Express, Messages: 1, Topics: []string{"order.placed"}, Tries: 3, HandingOver: true, Bytes: 210}}}),
		keeperAt("b", broker.KeeperStatus{Queue: 2, Oldest: []broker.PeekedHalf{{Tx: "3", Age: 3 * time.Second, Topics: []string{"a", "b"}}, {Tx: "1", Age: time.Second}}}),
	}
	halves := heldHalves("g", answers, 20)
	require.Len(t, halves, 3)
	require.Len(t, heldHalves("g", answers, 2), 2)
	require.Empty(t, heldHalves("other", answers, 2))
	var out bytes.Buffer
	require.NoError(t, printHalves(&out, halves))
	golden.Equal(t, "half-peek.txt", out.String())
	out.Reset()
	require.NoError(t, printHalves(&out, nil))
	require.Equal(t, "No undecided half message is held.\n", out.String())
}
