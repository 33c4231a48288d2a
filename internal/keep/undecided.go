package keep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// without is what a process does that cannot hand undecided half messages over.
type without struct {
	mu    sync.Mutex
	asked time.Time // when the other processes were asked last
	told  time.Time // when it was last said that something waits
}

const (
	// askPeersEvery is how often a process that cannot hand over asks whether another
	// one can.
	askPeersEvery = 2 * time.Second
	// waitsToldEvery is how often it says that something waits.
	waitsToldEvery = time.Hour
)

// unable says why this process cannot hand half messages over; empty if it can.
func (k *Keeper) unable() string {
	if k.o.Temporal == nil {
		return "it has no Temporal: Options.Temporal is not set"
	}
	if err := k.o.Trouble(); err != nil {
		return err.Error()
	}
	return ""
}

// peerIsAble reports whether another process of the group listens to the half queue,
// and can hand over. It is asked for only now and then.
func (k *Keeper) peerIsAble(ctx context.Context) bool {
	k.without.mu.Lock()
	soon := time.Since(k.without.asked) < askPeersEvery
	if !soon {
		k.without.asked = time.Now()
	}
	k.without.mu.Unlock()
	if soon {
		return false
	}
	answers, _ := k.Broker.Ask(ctx, 0) // those that came before an error count, too
	for _, p := range answers {
		for _, one := range p.Keepers {
			if one.Group == k.o.Group && one.Subscribed && one.Unable == "" {
				return true
			}
		}
	}
	return false
}

// undecidedWaits is why half messages stay where they are in a worker without
// Temporal. People are told, once an hour at most.
func (k *Keeper) undecidedWaits(halves []holdfast.Half) error {
	err := &holdfast.UnavailableError{Part: "Temporal",
		Err: errors.New("this process has none: Options.Temporal is not set"),
		Remedy: "start a process of group " + k.o.Group +
			" that has Temporal: it checks back what waits in the half queue, and delivers or drops it"}
	k.o.Metrics.HandedOver(holdfast.Express, len(halves), err)
	k.without.mu.Lock()
	known := time.Since(k.without.told) < waitsToldEvery
	if !known {
		k.without.told = time.Now()
	}
	k.without.mu.Unlock()
	if !known {
		a := holdfast.Alert{Kind: holdfast.AlertUndecidedWaits, At: time.Now(), Group: k.o.Group, ID: halves[0].TxID,
			Reason: fmt.Sprintf("%d half messages are undecided, because their process died or did not come to the end, "+
				"and wait in the half queue: no process of the group that has Temporal runs", len(halves)), Remedy: err.Remedy}
		if ms := halves[0].Messages; len(ms) > 0 {
			a.Topic, a.Key = ms[0].Topic, ms[0].Key
		}
		k.o.Logger.Warn("undecided half messages wait for a process that has Temporal",
			"half messages", len(halves), "first", a.ID, "remedy", a.Remedy)
		k.o.Alert(a)
	}
	return err
}

// OutcomesNeeded reports whether old outcome rows may still have to answer a
// check-back: without Temporal, half messages may wait longer than any retention.
func (k *Keeper) OutcomesNeeded(ctx context.Context) bool {
	if k.o.Temporal != nil || !k.o.Sends {
		return false
	}
	answers, err := k.Broker.Ask(ctx, 0)
	for _, p := range answers {
		for _, one := range p.Keepers {
			if one.Group == k.o.Group && !one.FailingSince.IsZero() {
				return true
			}
		}
	}
	return err != nil
}

// SayWithout says at the start what this process goes without.
func (k *Keeper) SayWithout() {
	if k.o.Sends && k.o.Temporal == nil {
		k.o.Metrics.Connected(false)
		k.o.Logger.Info("no Temporal: the Express lane only; "+
			"what stays undecided waits for a process of the group that has it",
			"group", k.o.Group)
	}
}

// allAre returns n times err.
func allAre(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}
