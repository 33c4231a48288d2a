package worker

import (
	"context"

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
