package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// express reports whether the options choose the Express lane for anything.
func (o Options) express() bool {
	if o.Lane == holdfast.Express {
		return true
	}
	for _, lane := range o.Lanes {
		if lane == holdfast.Express {
			return true
		}
	}
	return false
}

// sends reports whether transactions can be sent: with Temporal, or in the Express
// lane, which goes without.
func (o Options) sends() bool {
	return o.Temporal != nil || o.Group != "" && o.express()
}

// needsTemporal is the error of what, in a worker that has no Temporal client.
// Nothing was run.
func needsTemporal(what string) error {
	return fmt.Errorf("%w: %s needs Options.Temporal, which is not set: set it, and Options.Group; "+
		"without Temporal a worker consumes, and sends in the Express lane (Options.Lane or Options.Lanes)",
		holdfast.ErrInvalid, what)
}

// cannotSend says why nothing can be sent here at all.
func (w *Worker) cannotSend() error {
	return fmt.Errorf("%w: this worker only consumes: to send, set Options.Group, and either Options.Temporal, "+
		"or the Express lane in Options.Lane or Options.Lanes, which goes without Temporal", holdfast.ErrInvalid)
}

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
func (w *Worker) unable() string {
	if w.o.Temporal == nil {
		return "it has no Temporal: Options.Temporal is not set"
	}
	if _, err := w.attached.trouble(); err != nil {
		return err.Error()
	}
	return ""
}

// peerIsAble reports whether another process of the group listens to the half queue,
// and can hand over. It is asked for only now and then.
func (w *Worker) peerIsAble(ctx context.Context) bool {
	w.without.mu.Lock()
	soon := time.Since(w.without.asked) < askPeersEvery
	if !soon {
		w.without.asked = time.Now()
	}
	w.without.mu.Unlock()
	if soon {
		return false
	}
	answers, _ := w.broker.Ask(ctx, 0) // those that came before an error count, too
	for _, p := range answers {
		for _, k := range p.Keepers {
			if k.Group == w.o.Group && k.Subscribed && k.Unable == "" {
				return true
			}
		}
	}
	return false
}

// undecidedWaits is why half messages stay where they are in a worker without
// Temporal. People are told, once an hour at most.
func (w *Worker) undecidedWaits(halves []holdfast.Half) error {
	err := &holdfast.UnavailableError{Part: "Temporal",
		Err: errors.New("this process has none: Options.Temporal is not set"),
		Remedy: "start a process of group " + w.o.Group +
			" that has Temporal: it checks back what waits in the half queue, and delivers or drops it"}
	w.metrics.HandedOver(holdfast.Express, len(halves), err)
	w.without.mu.Lock()
	known := time.Since(w.without.told) < waitsToldEvery
	if !known {
		w.without.told = time.Now()
	}
	w.without.mu.Unlock()
	if !known {
		a := holdfast.Alert{Kind: holdfast.AlertUndecidedWaits, At: time.Now(), Group: w.o.Group, ID: halves[0].TxID,
			Reason: fmt.Sprintf("%d half messages are undecided, because their process died or did not come to the end, "+
				"and wait in the half queue: no process of the group that has Temporal runs", len(halves)), Remedy: err.Remedy}
		if ms := halves[0].Messages; len(ms) > 0 {
			a.Topic, a.Key = ms[0].Topic, ms[0].Key
		}
		w.o.Logger.Warn("undecided half messages wait for a process that has Temporal",
			"half messages", len(halves), "first", a.ID, "remedy", a.Remedy)
		w.alerts.Alert(a)
	}
	return err
}

// outcomesNeeded reports whether old outcome rows may still have to answer a
// check-back: without Temporal, half messages may wait longer than any retention.
func (w *Worker) outcomesNeeded(ctx context.Context) bool {
	if w.o.Temporal != nil || !w.sender {
		return false
	}
	answers, err := w.broker.Ask(ctx, 0)
	for _, p := range answers {
		for _, k := range p.Keepers {
			if k.Group == w.o.Group && !k.FailingSince.IsZero() {
				return true
			}
		}
	}
	return err != nil
}

// sayWithout says at the start what this process goes without.
func (w *Worker) sayWithout() {
	if w.sender && w.o.Temporal == nil {
		w.metrics.Connected(false)
		w.o.Logger.Info("no Temporal: the Express lane only; "+
			"what stays undecided waits for a process of the group that has it",
			"group", w.o.Group)
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
