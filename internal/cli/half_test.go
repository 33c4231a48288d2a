package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// keeperAt is a process with Keepers of group g, and one of another group.
func keeperAt(name string, all ...broker.KeeperStatus) broker.ProcessStatus {
	p := broker.ProcessStatus{Instance: name, Keepers: []broker.KeeperStatus{{Group: "other", Active: true, Held: 99}}}
	for _, k := range all {
		k.Group, k.CheckAfter = "g", 10*time.Second
		p.Keepers = append(p.Keepers, k)
	}
	return p
}

func TestKept(t *testing.T) {
	answers := []broker.ProcessStatus{
		keeperAt("a", broker.KeeperStatus{Queue: 1, Held: 0}, broker.KeeperStatus{Queue: 2, Active: true, Held: 5, Undecided: 2, OldestAge: 4 * time.Second}),
		keeperAt("b", broker.KeeperStatus{Active: true, Held: 3}, broker.KeeperStatus{Queue: 2, Active: true, Held: 1}),
		keeperAt("c", broker.KeeperStatus{Queue: 1}, broker.KeeperStatus{Queue: 3}),
	}
	there := broker.QueueInfo{Name: "x.half.g", Exists: true, Messages: 7, Consumers: 3}
	k := kept("g", 1, there, answers)
	require.Equal(t, "b", k.Keeper, "a process of an older version keeps the first one")
	require.Equal(t, []string{"a", "c"}, k.Standbys)
	require.Equal(t, 7, k.Waiting)
	require.Equal(t, "g", k.label())
	k = kept("g", 2, there, answers)
	require.Equal(t, "a", k.Keeper, "b lost it, and has not noticed")
	require.Equal(t, []string{"b"}, k.Standbys)
	require.InDelta(t, 4, k.OldestAge, 0)
	require.Equal(t, "g#2", k.label())
	k = kept("g", 3, broker.QueueInfo{Exists: true, Consumers: 1}, answers)
	require.Equal(t, "c", k.Keeper, "the only one")
	require.Empty(t, k.Standbys)
	require.Zero(t, kept("g", 4, broker.QueueInfo{}, answers).answered)
	require.Equal(t, []string{"g", "other"}, keptGroups(answers))
}

func TestPrintHalfStats(t *testing.T) {
	now := began
	there := broker.QueueInfo{Name: "x.half.g", Exists: true, Messages: 1200, Consumers: 2}
	away := keeperAt("a", broker.KeeperStatus{Active: true, Held: 40, Undecided: 34, OldestAge: 90 * time.Second,
		KeeperCounts: broker.KeeperCounts{Matched: 17, HandedOver: 2, Failed: 9, Malformed: 1}, FailingSince: now.Add(-80 * time.Second), LastError: "Temporal cannot be\nreached"})
	late := keeperAt("a", broker.KeeperStatus{Queue: 2, Active: true, Undecided: 1, OldestAge: 31 * time.Second})
	yet := []broker.ProcessStatus{keeperAt("a", broker.KeeperStatus{Queue: 3}), keeperAt("b", broker.KeeperStatus{Queue: 3})}
	var out bytes.Buffer
	require.NoError(t, printHalfStats(&out, []keptQueue{
		kept("g", 1, there, []broker.ProcessStatus{away, keeperAt("b", broker.KeeperStatus{})}),
		kept("g", 2, there, []broker.ProcessStatus{late}),
		kept("g", 3, there, yet),
		kept("g", 4, broker.QueueInfo{Exists: true}, nil),
		kept("g", 5, broker.QueueInfo{Exists: true, Consumers: 1}, nil),
		kept("h", 1, broker.QueueInfo{Name: "x.half.h"}, nil),
		kept("g", 1, broker.QueueInfo{Name: "x.half.g"}, []broker.ProcessStatus{keeperAt("b", broker.KeeperStatus{})}),
	}, now))
	golden(t, "half-stats.txt", out.String())
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
	golden(t, "half-peek.txt", out.String())
	out.Reset()
	require.NoError(t, printHalves(&out, nil))
	require.Equal(t, "No undecided half message is held.\n", out.String())
}

func TestHalfUsage(t *testing.T) {
	for _, args := range [][]string{{"half"}, {"half", "peek"}, {"half", "peek", "g", "-n", "0"}, {"half", "peek", "g", "-n", "101"}, {"half", "peek", "a b"}, {"half", "stats", "a/b"}} {
		require.Equal(t, exitUsage, runProgram(t, nil, args...).status, args)
	}
	r := runProgram(t, nil, "half", "stats")
	require.Equal(t, exitError, r.status)
	require.Contains(t, r.err, "set AMQP_URL")
}
