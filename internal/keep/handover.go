package keep

import (
	"context"
	"errors"
	"sync"

	"github.com/google/uuid"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// handOverAtOnce is how many workflows a sweep starts at the same time.
const handOverAtOnce = 16

// handOver gives the half messages of a sweep to Temporal: those of the Express
// lane to one workflow Recovery, or to several where they are too large for one;
// each of the others to a workflow of its own, which begins with a check-back; and each
// saga to its own. One
// whose workflow runs, or has completed, is taken care of already; one that was
// terminated, failed or timed out is started again.
func (k *Keeper) handOver(ctx context.Context, halves []holdfast.Half) []error {
	if why := k.unable(); why != "" && k.peerIsAble(ctx) {
		return allAre(len(halves), broker.ErrYield)
	}
	if k.o.Temporal == nil {
		return allAre(len(halves), k.undecidedWaits(halves))
	}
	errs := make([]error, len(halves))
	ctx, end := k.o.Trace.HandOver(ctx, halves)
	defer func() { end(errs) }()
	index := make(map[string]int, len(halves))
	var express, alone []activities.Tx
	var sagas []holdfast.Half
	for i, h := range halves {
		index[h.TxID] = i
		if h.Saga != nil {
			sagas = append(sagas, h)
			continue
		}
		tx := activities.Tx{ID: h.TxID, Form: activities.HandedOver, Messages: h.Messages, Database: h.Database,
			Why: "the Keeper held its half message without an op record"}
		if h.Lane == holdfast.Express {
			express = append(express, tx)
		} else {
			alone = append(alone, tx)
		}
	}
	for _, txs := range transactions.Recoveries(express) {
		err := k.recover(ctx, txs)
		if errors.Is(err, holdfast.ErrInvalid) { // one of them may be to blame
			alone = append(alone, txs...)
			continue
		}
		k.o.Metrics.HandedOver(holdfast.Express, len(txs), err)
		for _, tx := range txs {
			errs[index[tx.ID]] = err
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, handOverAtOnce)
	each := func(id string, f func() error) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := f()
			k.o.Metrics.HandedOver(halves[index[id]].Lane, 1, err)
			errs[index[id]] = err
		})
	}
	for _, tx := range alone {
		each(tx.ID, func() error { return k.handOverOne(ctx, tx) })
	}
	for _, h := range sagas {
		each(h.TxID, func() error { return k.o.HandOverSaga(ctx, h) })
	}
	wg.Wait()
	return errs
}

// recover starts a workflow Recovery for txs. Its ID is new each time: to recover
// what is recovered already does no harm.
func (k *Keeper) recover(ctx context.Context, txs []activities.Tx) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	in := k.o.Lanes.Input(txs...)
	options := transactions.RecoveryStartOptions(workflows.RecoveryWorkflowID(k.o.Prefix, k.o.Group, id.String()), in)
	options.WorkflowTaskTimeout = k.o.TaskTimeout
	_, err = k.o.Temporal.ExecuteWorkflow(ctx, options, transactions.RecoveryName, in)
	if err != nil {
		return temporalerr.Unavailable("start the recovery of undecided half messages", err)
	}
	k.o.Logger.Debug("handed over undecided half messages", "half messages", len(txs), "workflow", options.ID)
	return nil
}

func (k *Keeper) handOverOne(ctx context.Context, tx activities.Tx) error {
	run, err := k.o.Lanes.StartTransaction(ctx, tx, 0, false)
	if errors.Is(err, holdfast.ErrDuplicate) {
		return nil
	}
	if err == nil {
		k.o.Logger.Debug("handed over an undecided half message", "tx", tx.ID, "workflow", run.GetID())
	}
	return err
}
