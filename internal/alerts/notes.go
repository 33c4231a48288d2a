package alerts

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/broker"
)

// ignoredTold is how often the log says that something was no alert.
const ignoredTold = 10 * time.Minute

// alertNotes are what is wrong with alerts between processes, for the log, once, and for
// `holdfast doctor`.
type alertNotes struct {
	mu      sync.Mutex
	raise   broker.Trouble // zero: nothing is wrong
	take    broker.Trouble
	strange broker.Trouble
	told    time.Time // when the log was last told of strange
	n       int       // of strange
}

// raising notes that this process may not hand alerts on, or, of nil, that it may.
func (n *alertNotes) raising(log *slog.Logger) func(error) {
	return func(err error) {
		t := broker.Trouble{}
		if err != nil {
			t = broker.Trouble{Since: time.Now(), What: "alerts that it raises, and has nobody to tell of, reach nobody: its " +
				"RabbitMQ user may not hand them on: " + err.Error(),
				Remedy: "give the user write permission for the exchange of alerts (docs/security.md), which `holdfast topology " +
					"declare` makes; everything else goes on"}
		}
		n.set(log, &n.raise, t)
	}
}

// taking notes that the alerts of others do not reach this process's hook, or, of nil,
// that they do.
func (n *alertNotes) taking(log *slog.Logger, command string) func(error) {
	return func(err error) {
		t := broker.Trouble{}
		if err != nil {
			t = broker.Trouble{Since: time.Now(), What: "alerts that other processes raise do not reach its hook: its " +
				"RabbitMQ user may not make, or read, a queue of them: " + err.Error(),
				Remedy: "have somebody make the queue who may, with: " + command +
					" ; and give the user read permission for it (docs/security.md); everything else goes on"}
		}
		n.set(log, &n.take, t)
	}
}

func (n *alertNotes) set(log *slog.Logger, which *broker.Trouble, t broker.Trouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if *which = t; t.What != "" {
		log.Warn(t.What, "remedy", t.Remedy)
	}
}

// ignored notes what came into a queue of alerts and was none, or did not count.
func (n *alertNotes) ignored(log *slog.Logger) func(why string) {
	return func(why string) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.n++; n.n == 1 {
			n.strange.Since = time.Now()
		}
		n.strange.What = fmt.Sprintf("what came into the queues of alerts did not count, %d times; the last time: %s", n.n,
			why)
		n.strange.Remedy = "see who may write to the exchange of alerts, and to amq.default: docs/security.md"
		if time.Since(n.told) > ignoredTold {
			n.told = time.Now()
			log.Warn("what came into a queue of alerts does not count", "why", why)
		}
	}
}

func (n *alertNotes) troubles() (out []broker.Trouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range []broker.Trouble{n.raise, n.take, n.strange} {
		if t.What != "" {
			out = append(out, t)
		}
	}
	return out
}
