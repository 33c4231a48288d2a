package messages

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/worker"
)

// The series of backlogs: what a Keeper, and a consumer, find when they come back.
const (
	KeeperSeries   = "backlog-keeper"
	ConsumerSeries = "backlog-consumer"
)

// BacklogSizes are how many half messages, or messages, there are.
var BacklogSizes = []int{1_000, 10_000, 100_000, 500_000}

// Backlogs are their competitors.
func Backlogs() (out []contest.Competitor) {
	for _, n := range BacklogSizes {
		name := contest.NameOf(ConsumerSeries, n)
		out = append(out,
			contest.Competitor{Name: contest.NameOf(KeeperSeries, n), Series: KeeperSeries, Size: n,
				Callers: []int{1}, Rounds: 1,
				About: fmt.Sprintf("%d half messages in the half queue with the op records that settle them: "+
					"until the Keeper has forgotten them all", n),
				Open: func(_ context.Context, s *servers.Servers) (*contest.Entry, error) {
					p := &passing{s: s, n: n}
					return &contest.Entry{Prepare: p.fill, Run: p.run, Settle: p.end}, nil
				}},
			contest.Competitor{Name: name, Series: ConsumerSeries, Size: n, Callers: ConsumeCallers, Rounds: 1,
				About: fmt.Sprintf("as consume, with a backlog of %d messages and no warm-up", n),
				Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
					return openDrain(ctx, s, name, measure.Drain{Messages: n,
						Consume: func(ctx context.Context, callers int, t *measure.Tally) error {
							return s.RunConsumer(ctx, worker.Consumer{Name: name, Concurrency: callers,
								HandleAtLeastOnce: func(context.Context, holdfast.Message) error {
									return t.Work(measure.Nothing)
								}})
						}})
				}})
	}
	return out
}

// passing is a Keeper's way through a half queue in which all is settled.
type passing struct {
	s     *servers.Servers
	n     int // halves
	group string
}

// fill publishes and settles as senders do, 64 at a time.
func (p *passing) fill(ctx context.Context) error {
	p.group = "keeper-" + uuid.NewString()[:8]
	if err := p.s.Broker.DeclareGroup(ctx, p.group); err != nil {
		return err
	}
	err := measure.InParallel(ctx, p.n, servers.AtOnce, func(ctx context.Context, _ int) error {
		id, ms := orders.NewTransaction("nobody")
		if err := p.s.Broker.PublishHalf(ctx, holdfast.Half{TxID: id,
			Group: p.group, Messages: ms, At: time.Now(), Lane: holdfast.Express}); err != nil {
			return err
		}
		p.s.Broker.Settle(p.group, id, holdfast.Commit)
		return nil
	})
	return errors.Join(err, p.s.Broker.Flush(ctx))
}

var errSettled = errors.New("it is settled: there is nothing to hand over")

func (p *passing) run(ctx context.Context, _ int) (measure.Figure, error) {
	ctx, cancel := context.WithTimeout(ctx, measure.DrainTimeout)
	defer cancel()
	var handed atomic.Int64
	passed := make(chan struct{})
	var told bool // the Keeper's own
	ended := make(chan error, 1)
	began, used := time.Now(), measure.ReadCPU()
	go func() {
		ended <- p.s.Broker.Keep(ctx, broker.KeeperOptions{Group: p.group,
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
	used = measure.ReadCPU().Sub(used)
	cancel()
	err = errors.Join(err, <-ended)
	if n := handed.Load(); err == nil && n > 0 {
		err = fmt.Errorf("the Keeper wanted to hand over %d halves that were settled", n)
	}
	return measure.Figure{Rate: float64(p.n) / took.Seconds(), Operations: p.n,
		Seconds: took.Seconds(), CPU: used.Per(p.n)}, err
}

func (p *passing) end(context.Context) error { return p.s.Delete(p.s.HalfQueues(p.group)...) }
