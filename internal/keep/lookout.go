package keep

import (
	"context"
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

const (
	// lookEvery is how often a process that only sends looks whether others keep the half
	// queues.
	lookEvery = 15 * time.Second
	// grace is how long nobody may keep them before people are told: while the group's
	// processes are deployed, and look for further half queues once a minute.
	grace = 2 * time.Minute
)

// unkept is what a process that only sends knows of half queues that nobody keeps. The
// zero value is ready: it knows of none.
type unkept struct {
	mu    sync.Mutex
	queue string    // the first one; empty: each is kept
	since time.Time // when that was seen first
	told  time.Time // when people were told last
}

// Watch looks for the group's Keepers until ctx is done. It is for a process that only
// sends: what it leaves undecided needs one. It returns nil.
func (k *Keeper) Watch(ctx context.Context) error {
	tick := time.NewTicker(k.LookEvery)
	defer tick.Stop()
	for {
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			k.o.Logger.Debug("the half queues could not be looked at", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (k *Keeper) look(ctx context.Context) error {
	names, err := k.Broker.FindHalfQueues(ctx, k.o.Group)
	if err != nil {
		return err
	}
	info, err := k.Broker.Inspect(ctx, names...)
	if err != nil {
		return err
	}
	queue := ""
	for _, q := range info.Queues {
		if q.Consumers == 0 {
			queue = q.Name
			break
		}
	}
	if k.unkept.note(queue, time.Now(), k.Grace) {
		t := k.Unkept()
		k.o.Logger.Warn("nobody keeps a half queue of this process's group", "queue", queue, "remedy", t.Remedy)
		k.o.Alert(holdfast.Alert{Kind: holdfast.AlertUndecidedWaits, At: time.Now(), Group: k.o.Group,
			Reason: t.What, Remedy: t.Remedy})
	}
	return nil
}

// note takes down which half queue nobody keeps, empty for none, and reports whether it is
// time to tell people.
func (u *unkept) note(queue string, now time.Time, grace time.Duration) (tell bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if queue == "" {
		u.queue, u.since, u.told = "", time.Time{}, time.Time{}
		return false
	}
	if u.queue == "" {
		u.since = now
	}
	u.queue = queue
	if now.Sub(u.since) < grace || now.Sub(u.told) < waitsToldEvery {
		return false
	}
	u.told = now
	return true
}

// Unkept is what doctor says of half queues that nobody keeps; without What there is
// none, or nobody has looked.
func (k *Keeper) Unkept() (t broker.Trouble) {
	u := &k.unkept
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.queue != "" {
		t = broker.Trouble{Since: u.since,
			What:   fmt.Sprintf("no process keeps %s, and this one only sends: what it leaves undecided waits there", u.queue),
			Remedy: "start a process of group " + k.o.Group + " without Options.SendOnly"}
	}
	return t
}
