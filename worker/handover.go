package worker

import (
	"context"
	"errors"
	"sync"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
)

// handOverAtOnce is how many workflows a sweep starts at the same time.
const handOverAtOnce = 16

// handOver gives each half of a sweep a workflow of its own, which begins with a
// check-back. One whose workflow runs, or has completed, is taken care of
// already; one that was terminated, failed or timed out is started again.
func (w *Worker) handOver(ctx context.Context, halves []holdfast.Half) []error {
	errs := make([]error, len(halves))
	var wg sync.WaitGroup
	slots := make(chan struct{}, handOverAtOnce)
	for i, h := range halves {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = w.handOverOne(ctx, h)
		})
	}
	wg.Wait()
	return errs
}

func (w *Worker) handOverOne(ctx context.Context, h holdfast.Half) error {
	run, err := w.startTransaction(ctx, activities.Tx{ID: h.TxID, Form: activities.HandedOver, Messages: h.Messages,
		Why: "the Keeper held its half message without an op record"}, 0)
	if errors.Is(err, holdfast.ErrDuplicate) {
		return nil
	}
	if err == nil {
		w.o.Logger.Info("handed over an undecided half message", "tx", h.TxID, "workflow", run.GetID())
	}
	return err
}
