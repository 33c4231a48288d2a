package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
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
	mu     sync.Mutex
	done   chan struct{} // closed when it works for Temporal
	failed chan struct{} // closed when a try has failed
	err    error         // of the last try
	since  time.Time     // of the first one that failed; zero while it works for Temporal
	lost   chan error    // has the error of Temporal's workers that ended by themselves
	stop   func()        // ends what was begun; nil: nothing was
}

func newAttachment() *attachment {
	return &attachment{done: make(chan struct{}), failed: make(chan struct{})}
}

// attached notes that the process works for Temporal, until lost has something.
func (a *attachment) attached(lost chan error, stop func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lost, a.stop, a.err, a.since = lost, stop, nil, time.Time{}
	close(a.done)
}

func (a *attachment) detach() {
	a.mu.Lock()
	stop := a.stop
	a.stop = nil
	a.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// lose notes that the process works for Temporal no longer, because of err.
func (a *attachment) lose(err error) {
	a.mu.Lock()
	a.done, a.failed = make(chan struct{}), make(chan struct{})
	a.mu.Unlock()
	a.fail(err)
	a.detach()
}

// states are closed when the process works for Temporal, and when it is known not
// to.
func (a *attachment) states() (done, failed chan struct{}, lost chan error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done, a.failed, a.lost
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
		a.since = time.Now()
	}
	a.err = err
}

// missing is why the process does not work for Temporal, or not yet; nil while it does.
func (a *attachment) missing() error {
	done, _, _ := a.states()
	select {
	case <-done:
		return nil
	default:
	}
	since, err := a.trouble()
	if err == nil {
		return errors.New("not reached yet")
	}
	return fmt.Errorf("since %s: %w", since.Format(time.RFC3339), err)
}

func (a *attachment) why() error {
	_, err := a.trouble()
	return err
}

// trouble is why the process does not work for Temporal, and since when; nil while
// it does.
func (a *attachment) trouble() (since time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.since, a.err
}

// attach starts what this process does for Temporal, which is reached. running
// takes functions whose error ends the worker.
func (w *Worker) attach(ctx context.Context, running func(func() error)) error {
	sagas := w.sagaReplies()
	replies, err := sagas.Run(ctx)
	if err != nil {
		return err
	}
	lost := make(chan error, 1)
	workers, err := w.startTemporal(sagas, func(err error) {
		select {
		case lost <- temporalerr.Unavailable("run the worker", err):
		default: // several workers have the same trouble
		}
	})
	if err != nil {
		replies.Stop()
		return err
	}
	running(replies.Failed)
	w.useExpress(sagas)
	w.attached.attached(lost, func() {
		w.useExpress(nil)
		workers.stop()
		replies.Stop()
	})
	w.metrics.Connected(true)
	return nil
}

// stayAttached works for Temporal until ctx is done: where Temporal refuses its
// workers, because their namespace is gone for example, it begins anew. What needs
// Temporal fails meanwhile, and nothing else does.
func (w *Worker) stayAttached(ctx context.Context, running func(func() error), attached bool) error {
	for first := true; ; first = false {
		if !attached {
			if err := w.attachWhenReached(ctx, running, first); err != nil || ctx.Err() != nil {
				return err
			}
		}
		attached = false
		_, _, lost := w.attached.states()
		select {
		case err := <-lost:
			w.o.Logger.Error("Temporal refuses the workers of this process: what needs Temporal fails until it takes them again",
				"error", err)
			w.attached.lose(err)
		case <-ctx.Done():
			return nil
		}
		select {
		case <-time.After(attachPause/2 + rand.N(attachPause/2)):
		case <-ctx.Done():
			return nil
		}
	}
}

// attachWhenReached is attach for a worker that goes on without Temporal. It tries
// for ever. Only where Temporal is there from the first and refuses, which is how a
// wrong option shows, does it return an error: what comes later must not end what
// goes on without Temporal, and neither must a namespace that is not there yet.
func (w *Worker) attachWhenReached(ctx context.Context, running func(func() error), first bool) error {
	w.metrics.Connected(false)
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = attachPause
	var logged time.Time
	for ; ; first = false {
		err := w.tryToAttach(ctx, running)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			level := slog.LevelInfo
			if logged.IsZero() {
				level = slog.LevelDebug // it was there from the first
			}
			w.o.Logger.Log(ctx, level, "Temporal is reached: undecided half messages are handed over")
			return nil
		case first && lasting(err) && !temporalerr.NoNamespace(err):
			return err
		}
		w.attached.fail(err)
		if time.Since(logged) > attachLogged {
			logged = time.Now()
			w.o.Logger.Warn("Temporal cannot be used: the Express lane goes on, "+
				"undecided half messages wait, everything else fails", "error", err)
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *Worker) tryToAttach(ctx context.Context, running func(func() error)) error {
	prepare, cancel := context.WithTimeout(ctx, w.o.Timeouts.Start)
	defer cancel()
	if err := w.prepareTemporal(prepare); err != nil {
		if prepare.Err() != nil {
			return &holdfast.UnavailableError{Part: "Temporal", Err: err,
				Remedy: "check TEMPORAL_ADDRESS and that the server runs"}
		}
		return err
	}
	return w.attach(ctx, running)
}

// awaitTemporal waits until this process works for Temporal, and fails while that is
// known not to be reached.
func (w *Worker) awaitTemporal(ctx context.Context) error {
	done, failed, _ := w.attached.states()
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-failed:
		return w.attached.why()
	case <-w.stopped:
		return fmt.Errorf("%w: Run is ending", holdfast.ErrNotRunning)
	case <-ctx.Done():
		return &holdfast.UnavailableError{Part: "Temporal", Err: context.Cause(ctx),
			Remedy: "it was not reached in time: check TEMPORAL_ADDRESS and that the server runs"}
	}
}
