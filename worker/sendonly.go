package worker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

const (
	// keepersEvery is how often a process that only sends looks whether others keep the
	// half queues.
	keepersEvery = 15 * time.Second
	// unkeptGrace is how long nobody may keep them before people are told: while the
	// group's processes are deployed.
	unkeptGrace = time.Minute
)

// unkept is what a process that only sends knows of half queues that nobody keeps. The
// zero value is ready: it knows of none.
type unkept struct {
	mu    sync.Mutex
	queue string    // the first one; empty: each is kept
	since time.Time // when that was seen first
	told  time.Time // when people were told last
}

// watchKeepers looks for the group's Keepers until ctx is done. What this process leaves
// undecided needs one.
func (w *Worker) watchKeepers(ctx context.Context) error {
	tick := time.NewTicker(w.keepersEvery)
	defer tick.Stop()
	for {
		if err := w.lookForKeepers(ctx); err != nil && ctx.Err() == nil {
			w.o.Logger.Debug("the half queues could not be looked at", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *Worker) lookForKeepers(ctx context.Context) error {
	names, err := w.broker.FindHalfQueues(ctx, w.o.Group)
	if err != nil {
		return err
	}
	info, err := w.broker.Inspect(ctx, names...)
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
	if w.unkept.note(queue, time.Now(), w.unkeptGrace) {
		t := w.unkept.trouble(w.o.Group)
		w.o.Logger.Warn("nobody keeps a half queue of this process's group", "queue", queue, "remedy", t.Remedy)
		w.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertUndecidedWaits, At: time.Now(), Group: w.o.Group,
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

// trouble is what doctor says of it; without What there is none.
func (u *unkept) trouble(group string) (t broker.Trouble) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.queue != "" {
		t = broker.Trouble{Since: u.since,
			What:   fmt.Sprintf("no process keeps %s, and this one only sends: what it leaves undecided waits there", u.queue),
			Remedy: "start a process of group " + group + " without Options.SendOnly"}
	}
	return t
}

// registered says that something was registered in a process that only sends. nil: nothing
// was.
func (w *Worker) registered() error {
	var what []string
	for _, r := range []struct {
		method string
		n      int
	}{{"Consume", len(w.consumers)}, {"Participate", len(w.participants)}, {"Saga", len(w.sagas.defs.All())},
		{"Local", len(w.handlers)}, {"Check", len(w.checkers)}, {"Activity", len(w.activities)},
		{"Compensate", len(w.compensations)}} {
		if r.n > 0 {
			what = append(what, r.method)
		}
	}
	if len(what) == 0 {
		return nil
	}
	return fmt.Errorf("%w: Options.SendOnly excludes %s: register that in the processes of the group "+
		"that do not only send", holdfast.ErrInvalid, strings.Join(what, ", "))
}
