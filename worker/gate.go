package worker

import (
	"context"
	"fmt"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/lanes"
	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/internal/sagahandle"
)

// gate lets callers of the lanes and of sagas in while the worker runs.
type gate struct{ w *Worker }

var (
	_ lanes.Gate       = gate{}
	_ sagahandle.Gate  = gate{}
	_ sagaexpress.Gate = gate{}
)

func (g gate) Enter(ctx context.Context) error { return g.w.enter(ctx) }

func (g gate) EnterTemporal(ctx context.Context, what string) error {
	return g.w.enterTemporal(ctx, what)
}

func (g gate) Leave() { g.w.sending.Done() }

func (g gate) Go(f func()) { g.w.sending.Go(f) }

func (g gate) Stopping() <-chan struct{} { return g.w.stopped }

func (g gate) Over() <-chan struct{} { return g.w.over }

func (g gate) Ended() error { return g.w.ended() }

// AwaitRunning waits until the worker runs. It is for what asks Temporal of a saga.
func (g gate) AwaitRunning(ctx context.Context) error {
	if g.w.o.Temporal == nil {
		return needsTemporal("a saga's handle")
	}
	if err := g.w.awaitReady(ctx); err != nil {
		return err
	}
	select {
	case <-g.w.over:
		return g.w.ended()
	default:
		return nil
	}
}

// enterTemporal is enter for what needs Temporal, whose name is what.
func (w *Worker) enterTemporal(ctx context.Context, what string) error {
	if w.o.Temporal == nil {
		return needsTemporal(what)
	}
	if err := w.enter(ctx); err != nil {
		return err
	}
	err := w.awaitTemporal(ctx)
	if err != nil {
		w.sending.Done()
	}
	return err
}

// stop refuses what is sent from now on.
func (w *Worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.stopped:
	default:
		close(w.stopped)
	}
}

// drain lets those who are sending come to their end, until drainUntil at most.
func (w *Worker) drain() {
	w.stop()
	until := w.drainUntil.Load()
	if until == nil { // this very moment
		now := time.Now().Add(w.o.Timeouts.Drain)
		until = &now
	}
	done := make(chan struct{})
	go func() {
		w.sending.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Until(*until)):
		w.o.Logger.Warn("stopping although transactions are being sent: check-back will end them")
	}
}

// enter waits until sending can begin, and counts the caller in w.sending.
func (w *Worker) enter(ctx context.Context) error {
	if err := w.awaitReady(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.stopped:
		return fmt.Errorf("%w: Run is ending", holdfast.ErrNotRunning)
	default:
		w.sending.Add(1)
		return nil
	}
}

// awaitReady waits until sending can begin.
func (w *Worker) awaitReady(ctx context.Context) error {
	if !w.sender {
		return w.cannotSend()
	}
	select {
	case <-w.ready:
		return nil // whatever else is true
	default:
	}
	select {
	case <-w.ready:
		return nil
	case <-w.over:
		return w.ended()
	case <-w.stopped:
		return fmt.Errorf("%w: Run is ending", holdfast.ErrNotRunning)
	case <-ctx.Done():
		return fmt.Errorf("%w: it was not ready in time; is Run called? %w", holdfast.ErrNotRunning, context.Cause(ctx))
	}
}

// ended says that Run has returned, and why.
func (w *Worker) ended() error {
	if w.runErr == nil {
		return fmt.Errorf("%w: Run has returned", holdfast.ErrNotRunning)
	}
	return fmt.Errorf("%w: Run has returned: %w", holdfast.ErrNotRunning, w.runErr)
}
