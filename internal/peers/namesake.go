package peers

import (
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// namesake is another process of the group that has this one's Options.Instance. It does
// no harm: the task queue of a process's closures, and all else that belongs to one
// process, have a random part in their names. But nobody can tell the two apart in logs
// and alerts, nor in what doctor says. While a process replaces another one of its name,
// both may run for a moment: so an alert comes only where both are still there at the
// next look.
type namesake struct {
	mu    sync.Mutex
	since time.Time // zero: there is none
	told  bool
}

// lookAgain is when the processes are asked again after one with this one's name was
// found.
const lookAgain = time.Minute

const sameInstanceRemedy = "give each process an Options.Instance of its own, such as its pod's name, or leave it empty"

// compareNames reports whether another process of the group has this one's name.
func (p *Peers) compareNames(answers []broker.ProcessStatus, b peerBroker) bool {
	n := 0
	for _, a := range answers {
		if a.Instance == p.o.Instance && a.HasGroup(p.o.Group) && !b.Answers(a) {
			n++
		}
	}
	s := &p.namesake
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case n == 0:
		s.since, s.told = time.Time{}, false
		return false
	case s.since.IsZero():
		s.since = time.Now()
		p.o.Logger.Warn("another process of the group has the name of this one: nobody can tell the two apart",
			"instance", p.o.Instance, "group", p.o.Group, "remedy", sameInstanceRemedy)
	case !s.told:
		s.told = true
		p.o.Alert(holdfast.Alert{Kind: holdfast.AlertSameInstance, Group: p.o.Group,
			Reason: sameInstance(p.o.Instance, p.o.Group, n+1), Remedy: sameInstanceRemedy})
	}
	return true
}

func sameInstance(instance, group string, n int) string {
	return fmt.Sprintf("%d processes of group %s have the Options.Instance %s: nobody can tell them apart",
		n, group, instance)
}
