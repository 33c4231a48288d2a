package link

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const (
	maxUnsettled = 100_000 // transactions that wait for an op record
	maxOpFlight  = 16      // op records that wait for a confirm
)

// flushing is a waiting Flush: first for all that was settled to be in records
// (armed), then for the records up to until.
type flushing struct {
	armed bool
	until uint64
	done  chan struct{}
}

// opQueue is a half queue and its group.
type opQueue struct{ group, name string }

// OpWriter gathers settled transactions into op records.
type OpWriter struct {
	pub      *Publisher
	o        Options
	names    wire.Names
	log      *slog.Logger
	interval time.Duration

	mu      sync.Mutex
	queues  map[opQueue]*wire.OpRecord
	waiting int // in queues
	open    int // in queues or in a record under way
	dropped int
	last    uint64          // number of the last record taken
	flying  map[uint64]bool // records under way
	flushes []*flushing
	stopped bool

	kick   chan struct{} // something to do
	full   chan struct{} // do not wait for the interval
	slots  chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewOpWriter begins to write op records, until ctx is done.
func NewOpWriter(ctx context.Context, pub *Publisher, o Options) *OpWriter {
	ctx, cancel := context.WithCancel(ctx)
	w := &OpWriter{pub: pub, o: o, names: o.Names, log: o.Log, interval: o.OpInterval,
		queues: map[opQueue]*wire.OpRecord{}, flying: map[uint64]bool{},
		kick: make(chan struct{}, 1), full: make(chan struct{}, 1), slots: make(chan struct{}, maxOpFlight),
		cancel: cancel}
	w.wg.Go(func() { w.run(ctx) })
	return w
}

func (w *OpWriter) Add(group, tx string, r holdfast.Resolution) {
	if r != holdfast.Commit && r != holdfast.Rollback || wire.ValidGroup(group) != nil || wire.ValidTx(tx) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || w.open >= maxUnsettled {
		if w.dropped++; w.dropped%maxUnsettled == 1 {
			w.log.Warn("op records cannot be written fast enough; some transactions will be checked back",
				"not noted so far", w.dropped)
		}
		return
	}
	to := opQueue{group, w.names.HalfQueueOf(group, tx)}
	q := w.queues[to]
	if q == nil {
		q = &wire.OpRecord{}
		w.queues[to] = q
	}
	if r == holdfast.Commit {
		q.Commit = append(q.Commit, tx)
	} else {
		q.Rollback = append(q.Rollback, tx)
	}
	w.waiting++
	w.open++
	if w.waiting == 1 {
		Token(w.kick)
	}
	if w.waiting >= w.o.OpBatch {
		Token(w.full)
	}
}

func (w *OpWriter) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.kick:
		case <-ctx.Done():
			return
		}
		timer.Reset(w.interval)
		select {
		case <-timer.C:
		case <-w.full:
		case <-ctx.Done():
			return
		}
		if !w.write(ctx) {
			return
		}
	}
}

// write starts an op record for every OpBatch of waiting transactions; it
// reports false when ctx is done.
func (w *OpWriter) write(ctx context.Context) bool {
	for {
		select {
		case w.slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		id, to, r := w.take()
		n := len(r.Commit) + len(r.Rollback)
		if n == 0 {
			<-w.slots
			return true
		}
		w.wg.Go(func() {
			for _, msg := range wire.EncodeOps(to.group, r) {
				p := Publication{Exchange: w.names.HalfExchange(), Key: to.name, Mandatory: true, Repair: true,
					Old: w.o.RollingUpgrade, Msg: msg}
				if err := w.pub.One(ctx, &p, ""); err != nil {
					w.log.Debug("an op record was lost; its transactions will be checked back", "queue", to.name,
						"transactions", n, "error", err)
				}
			}
			<-w.slots
			w.landed(id, n)
		})
	}
}

// take makes a record of at most OpBatch transactions of one half queue.
func (w *OpWriter) take() (id uint64, to opQueue, r wire.OpRecord) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, q := range w.queues {
		n := min(w.o.OpBatch, len(q.Commit))
		r.Commit, q.Commit = q.Commit[:n:n], q.Commit[n:]
		n = min(w.o.OpBatch-n, len(q.Rollback))
		r.Rollback, q.Rollback = q.Rollback[:n:n], q.Rollback[n:]
		if len(q.Commit)+len(q.Rollback) == 0 {
			delete(w.queues, name)
		}
		w.waiting -= len(r.Commit) + len(r.Rollback)
		w.last++
		w.flying[w.last] = true
		w.check()
		return w.last, name, r
	}
	return 0, opQueue{}, r
}

// landed says that a record is confirmed, or lost.
func (w *OpWriter) landed(id uint64, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open -= n
	delete(w.flying, id)
	w.check()
}

// check ends the flushes that are through; mu is held.
func (w *OpWriter) check() {
	w.flushes = slices.DeleteFunc(w.flushes, func(f *flushing) bool {
		if !f.armed && w.waiting == 0 {
			f.armed, f.until = true, w.last
		}
		if !f.armed {
			return false
		}
		for id := range w.flying {
			if id <= f.until {
				return false
			}
		}
		close(f.done)
		return true
	})
}

func (w *OpWriter) Flush(ctx context.Context) error {
	f := &flushing{done: make(chan struct{})}
	w.mu.Lock()
	w.flushes = append(w.flushes, f)
	w.check()
	if !f.armed { // else a later record would be written early, for nothing
		Token(w.full)
	}
	w.mu.Unlock()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		w.flushes = slices.DeleteFunc(w.flushes, func(o *flushing) bool { return o == f })
		return fmt.Errorf("op records are still waiting for their confirms: %w", ctx.Err())
	}
}

// Stop notes nothing more, and flushes until ctx is done.
func (w *OpWriter) Stop(ctx context.Context) error {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	err := w.Flush(ctx)
	w.cancel()
	return err
}

func (w *OpWriter) Wait() { w.wg.Wait() }
