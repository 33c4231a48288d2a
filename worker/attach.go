package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	holdfast "github.com/holdfastmq/holdfast"
)

const (
	// attachPause is how often Temporal is tried at most, once it was not reached.
	attachPause = 5 * time.Second
	// attachLogged is how often the log says so.
	attachLogged = time.Minute
)

// attachment is what a process does for Temporal, and what needs that: its workers,
// and the replies to its sagas.
type attachment struct {
	done   chan struct{} // closed when it works for Temporal
	failed chan struct{} // closed when a try has failed

	mu   sync.Mutex
	err  error  // of the last try
	stop func() // ends what was begun; nil: nothing was
}

func newAttachment() *attachment {
	return &attachment{done: make(chan struct{}), failed: make(chan struct{})}
}

func (a *attachment) setStop(stop func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stop = stop
}

func (a *attachment) detach() {
	a.mu.Lock()
	stop := a.stop
	a.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// fail notes a try that failed. To whoever needs Temporal it is not there, for
// whatever reason.
func (a *attachment) fail(err error) {
	var unavailable *holdfast.UnavailableError
	if !errors.As(err, &unavailable) {
		err = &holdfast.UnavailableError{Part: "Temporal", Err: err}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		close(a.failed)
	}
	a.err = err
}

func (a *attachment) why() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// attach starts what this process does for Temporal, which is reached. running
// takes functions whose error ends the worker.
func (w *Worker) attach(ctx context.Context, running func(func() error)) error {
	replies, err := w.runSagas(ctx)
	if err != nil {
		return err
	}
	workers, err := w.startTemporal(func(err error) {
		running(func() error { return w.temporalError("run the worker", err) })
	})
	if err != nil {
		replies.stop()
		return err
	}
	running(replies.failed)
	w.attached.setStop(func() {
		workers.stop()
		replies.stop()
	})
	close(w.attached.done)
	w.metrics.connected(true)
	return nil
}

// attachWhenReached is attach for a worker that sends without Temporal. It tries for
// ever. Only where Temporal is there from the first and refuses, which is how a
// wrong option shows, does it return an error: what comes later must not end what
// goes on without Temporal.
func (w *Worker) attachWhenReached(ctx context.Context, running func(func() error)) error {
	w.metrics.connected(false)
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = attachPause
	var logged time.Time
	for first := true; ; first = false {
		err := w.tryToAttach(ctx, running)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			w.o.Logger.Info("Temporal is reached: undecided half messages are handed over")
			return nil
		case first && lasting(err):
			return err
		}
		w.attached.fail(err)
		if time.Since(logged) > attachLogged {
			logged = time.Now()
			w.o.Logger.Warn("Temporal cannot be used: the Express lane goes on, undecided half messages wait, everything else fails", "error", err)
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *Worker) tryToAttach(ctx context.Context, running func(func() error)) error {
	prepare, cancel := context.WithTimeout(ctx, w.o.StartTimeout)
	defer cancel()
	if err := w.prepareTemporal(prepare); err != nil {
		if prepare.Err() != nil {
			return &holdfast.UnavailableError{Part: "Temporal", Err: err, Remedy: "check TEMPORAL_ADDRESS and that the server runs"}
		}
		return err
	}
	return w.attach(ctx, running)
}

// awaitTemporal waits until this process works for Temporal, and fails while that is
// known not to be reached.
func (w *Worker) awaitTemporal(ctx context.Context) error {
	select {
	case <-w.attached.done:
		return nil
	default:
	}
	select {
	case <-w.attached.done:
		return nil
	case <-w.attached.failed:
		return w.attached.why()
	case <-w.stopped:
		return fmt.Errorf("%w: Run is ending", holdfast.ErrNotRunning)
	case <-ctx.Done():
		return &holdfast.UnavailableError{Part: "Temporal", Err: context.Cause(ctx), Remedy: "it was not reached in time: check TEMPORAL_ADDRESS and that the server runs"}
	}
}

// enterTemporal is enter for what needs Temporal.
func (w *Worker) enterTemporal(ctx context.Context) error {
	if err := w.enter(ctx); err != nil {
		return err
	}
	err := w.awaitTemporal(ctx)
	if err != nil {
		w.sending.Done()
	}
	return err
}
