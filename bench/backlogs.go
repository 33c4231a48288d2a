package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/worker"
)

// The series of backlogs: what a Keeper, and a consumer, find when they come back.
const (
	keeperSeries   = "backlog-keeper"
	consumerSeries = "backlog-consumer"
)

var backlogSizes = []int{1_000, 10_000, 100_000, 500_000}

// backlogs are their competitors.
func backlogs() (out []competitor) {
	for _, n := range backlogSizes {
		name := nameOf(consumerSeries, n)
		out = append(out,
			competitor{name: nameOf(keeperSeries, n), series: keeperSeries, size: n, callers: []int{1}, rounds: 1,
				about: fmt.Sprintf("%d half messages in the half queue with the op records that settle them: "+
					"until the Keeper has forgotten them all", n),
				open: func(_ context.Context, s *servers) (*entry, error) {
					p := &passing{s: s, n: n}
					return &entry{prepare: p.fill, run: p.run, settle: p.end}, nil
				}},
			competitor{name: name, series: consumerSeries, size: n, callers: consumeCallers, rounds: 1,
				about: fmt.Sprintf("as consume, with a backlog of %d messages and no warm-up", n),
				open: func(ctx context.Context, s *servers) (*entry, error) {
					return openDrain(ctx, s, name, drain{messages: n,
						consume: func(ctx context.Context, callers int, t *tally) error {
							return s.runConsumer(ctx, worker.Consumer{Name: name, Concurrency: callers,
								HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return t.work(nothing) }})
						}})
				}})
	}
	return out
}

// passing is a Keeper's way through a half queue in which all is settled.
type passing struct {
	s     *servers
	n     int // halves
	group string
}

// fill publishes and settles as senders do, 64 at a time.
func (p *passing) fill(ctx context.Context) error {
	p.group = "keeper-" + uuid.NewString()[:8]
	if err := p.s.broker.DeclareGroup(ctx, p.group); err != nil {
		return err
	}
	err := inParallel(ctx, p.n, fillCallers, func(ctx context.Context, _ int) error {
		id, ms := newTransaction("nobody")
		if err := p.s.broker.PublishHalf(ctx, holdfast.Half{TxID: id,
			Group: p.group, Messages: ms, At: time.Now(), Lane: holdfast.Express}); err != nil {
			return err
		}
		p.s.broker.Settle(p.group, id, holdfast.Commit)
		return nil
	})
	return errors.Join(err, p.s.broker.Flush(ctx))
}

var errSettled = errors.New("it is settled: there is nothing to hand over")

func (p *passing) run(ctx context.Context, _ int) (figure, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	var handed atomic.Int64
	passed := make(chan struct{})
	var told bool // the Keeper's own
	ended := make(chan error, 1)
	began, used := time.Now(), readCPU()
	go func() {
		ended <- p.s.broker.Keep(ctx, broker.KeeperOptions{Group: p.group,
			HandOver: func(_ context.Context, halves []holdfast.Half) []error {
				handed.Add(int64(len(halves)))
				errs := make([]error, len(halves))
				for i := range errs {
					errs[i] = errSettled
				}
				return errs
			},
			Stats: func(st broker.KeeperStats) {
				if !told && st.Matched >= uint64(p.n) && st.Held == 0 {
					told = true
					close(passed)
				}
			}})
	}()
	var err error
	select {
	case <-passed:
	case err = <-ended:
		ended <- nil
		err = errors.Join(errors.New("the Keeper ended by itself"), err)
	case <-ctx.Done():
		err = fmt.Errorf("the Keeper has not forgotten all of %d halves: %w", p.n, context.Cause(ctx))
	}
	took := time.Since(began)
	used = readCPU().sub(used)
	cancel()
	err = errors.Join(err, <-ended)
	if n := handed.Load(); err == nil && n > 0 {
		err = fmt.Errorf("the Keeper wanted to hand over %d halves that were settled", n)
	}
	return figure{Rate: float64(p.n) / took.Seconds(), Operations: p.n, Seconds: took.Seconds(), CPU: used.per(p.n)}, err
}

func (p *passing) end(context.Context) error { return p.s.delete(p.s.halfQueues(p.group)...) }
