package processes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
)

// keptBy is a process with Keepers of group g, and one of another group.
func keptBy(name string, all ...broker.KeeperStatus) broker.ProcessStatus {
	p := broker.ProcessStatus{Instance: name, Keepers: []broker.KeeperStatus{{Group: "other", Active: true, Held: 99}}}
	for _, k := range all {
		k.Group, k.CheckAfter = "g", 10*time.Second
		p.Keepers = append(p.Keepers, k)
	}
	return p
}

func TestKept(t *testing.T) {
	answers := []broker.ProcessStatus{
		keptBy("a", broker.KeeperStatus{Queue: 1, Held: 0}, broker.KeeperStatus{Queue: 2, Active: true, Held: 5, Undecided: 2, OldestAge: 4 * time.Second}),
		keptBy("b", broker.KeeperStatus{Active: true, Held: 3}, broker.KeeperStatus{Queue: 2, Active: true, Held: 1}),
		keptBy("c", broker.KeeperStatus{Queue: 1}, broker.KeeperStatus{Queue: 3}),
	}
	there := broker.QueueInfo{Name: "x.half.g", Exists: true, Messages: 7, Consumers: 3}
	k := Kept("g", 1, there, answers)
	require.Equal(t, "b", k.Keeper, "a process of an older version keeps the first one")
	require.Equal(t, []string{"a", "c"}, k.Standbys)
	require.Equal(t, 7, k.Waiting)
	require.Equal(t, "g", k.Label())
	k = Kept("g", 2, there, answers)
	require.Equal(t, "a", k.Keeper, "b lost it, and has not noticed")
	require.Equal(t, []string{"b"}, k.Standbys)
	require.InDelta(t, 4, k.OldestAge, 0)
	require.Equal(t, "g#2", k.Label())
	k = Kept("g", 3, broker.QueueInfo{Exists: true, Consumers: 1}, answers)
	require.Equal(t, "c", k.Keeper, "the only one")
	require.Empty(t, k.Standbys)
	require.Zero(t, Kept("g", 4, broker.QueueInfo{}, answers).Answered)
	require.Equal(t, []string{"g", "other"}, KeptGroups(answers))
}
