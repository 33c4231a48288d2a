package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
)

// Run connects, runs everything until ctx is done, lets running work come to its
// end, and returns. It returns an error at once for a wrong registration or wrong
// credentials, and after Options.Timeouts.Start where one of the three parts cannot
// be reached; once running, it reconnects for ever, and what needs Temporal fails
// where that refuses its workers, until it takes them again. With Options.Lane
// Express it does not wait for Temporal, nor for its namespace, but goes on trying;
// it returns an error only if Temporal is there at once, and refuses. A worker runs
// once.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := w.claim(cancel); err != nil {
		return err
	}
	w.runErr = w.run(w.trace.Outside(ctx)) // messages are not in the trace of who calls Run
	w.stop()
	w.trace.Flush()
	_ = w.metrics.Close() // nobody reads them any more
	close(w.over)
	w.owned.close()
	return w.runErr
}

func (w *Worker) run(ctx context.Context) error {
	w.reserveNames()
	if w.o.SendOnly {
		w.problem(w.registered())
	}
	if len(w.handlers) > 0 && w.o.DB == nil {
		w.problem(fmt.Errorf("%w: Local needs Options.DB", holdfast.ErrInvalid))
	}
	if len(w.checkers) > 0 && w.o.RemoteCheck {
		w.problem(fmt.Errorf("%w: Check and Options.RemoteCheck exclude each other: "+
			"the group's own processes answer check-backs", holdfast.ErrInvalid))
	}
	if len(w.compensations) > 0 && w.o.DB == nil {
		w.problem(fmt.Errorf("%w: Compensate needs Options.DB", holdfast.ErrInvalid))
	}
	if len(w.compensations) > 0 && w.o.Temporal == nil {
		w.problem(needsTemporal("Compensate, which runs in the producer group,"))
	}
	w.sagaProblems()
	if err := errors.Join(w.problems...); err != nil {
		return err
	}
	w.alerts.Own(w.o.Group, w.observer.Names(), w.o.AllAlerts)
	if err := w.connect(ctx); err != nil {
		return err
	}
	defer w.disconnect(ctx)
	w.alerts.RelayTo(w.broker)
	defer w.alerts.Start(ctx)()
	defer w.observer.LeaveBreakers()

	w.databases.ComparePools()
	w.metrics.Watch(w.load)
	defer w.broker.ShowTroubles(w.troubles)()
	if w.o.Temporal == nil {
		defer w.broker.ShowNoTemporal()()
	}
	if w.o.SendOnly {
		defer w.broker.ShowSender(w.o.Group)()
	}

	group, running := errgroup.WithContext(ctx)
	defer context.AfterFunc(running, func() {
		until := time.Now().Add(w.o.Timeouts.Drain)
		w.drainUntil.Store(&until)
	})()
	if w.o.Temporal != nil {
		if w.o.Lane == holdfast.Express {
			group.Go(func() error { return w.stayAttached(running, group.Go, false) })
		} else if err := w.attach(running, group.Go); err != nil {
			return err
		} else {
			group.Go(func() error { return w.stayAttached(running, group.Go, true) })
		}
		defer w.attached.detach()
	}
	if w.sender {
		defer w.drain()
		group.Go(func() error { return w.memory.Learn(running, w.broker) })
	}
	for _, c := range w.consumers {
		group.Go(func() error { return w.consume(running, c) })
	}
	for _, p := range w.participants {
		group.Go(func() error { return w.participate(running, p) })
	}
	defer w.broker.ShowDatabases(w.databases.Statuses)()
	group.Go(func() error { return w.alerts.Take(running, w.broker, w.o.Prefix) })
	if w.o.SendOnly {
		group.Go(func() error { return w.keeper.Watch(running) })
	} else {
		w.runForOthers(running, group.Go)
	}
	group.Go(func() error { return w.peers.Watch(running, w.broker) })
	close(w.ready)
	w.keeper.SayWithout()
	w.o.Logger.Info("holdfast runs", "group", w.o.Group, "instance", w.o.Instance, "consumers", len(w.consumers),
		"participants", len(w.participants), "sagas", len(w.sagas.defs.All()))
	return group.Wait()
}

// runForOthers begins what a process does for its group, and for all of the prefix.
func (w *Worker) runForOthers(ctx context.Context, running func(func() error)) {
	if w.o.Temporal != nil {
		running(func() error { return w.intake().Run(ctx) })
	}
	if w.sender {
		running(func() error { return w.keeper.Keep(ctx) })
	}
	running(func() error { return w.broker.ConsumeExpired(ctx, w.memory.Expired) })
	running(func() error { return w.databases.Sweep(ctx) })
}

func (w *Worker) claim(cancel context.CancelFunc) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.claimed {
		return fmt.Errorf("%w: Run or Close was called before: make a new worker", holdfast.ErrInvalid)
	}
	w.claimed, w.endRun = true, cancel
	return nil
}
