package transactions

import (
	"context"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// Traced is Holdfast's Traced lane with a history for each transaction.
var Traced = contest.Competitor{
	Name: "traced",
	About: "worker.Send with MaxCohort 1, a workflow for each transaction: " +
		"half message, local transaction with one insert and the outcome row, message, op record, workflow history, Keeper",
	Most: contest.SlowMost,
	Open: sender{name: "traced", options: worker.Options{Tuning: worker.Tuning{MaxCohort: 1}}}.entry,
}

// Cohorts is the Traced lane as an application uses it: a worker with its
// defaults.
var Cohorts = contest.Competitor{
	Name:  "cohorts",
	About: "worker.Send with its defaults: as traced, but transactions of the same moment share a workflow",
	Open:  sender{name: "cohorts"}.entry,
}

const (
	slowEvery = 100 // transactions, of which one is slow
	slowFor   = time.Second
)

// CohortsSlow is what one slow transaction in a hundred does to the others.
var CohortsSlow = contest.Competitor{
	Name: "cohorts-slow",
	About: "as cohorts, and the closure of one transaction in a hundred sleeps a second, " +
		"with its database connection in hand; the figures are those of the others",
	Callers: []int{64},
	Open: func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		var sent atomic.Int64
		d := sender{name: "cohorts-slow", drive: func(send sending) measure.Driver {
			return measure.ClosedLoop(func(ctx context.Context) error {
				if sent.Add(1)%slowEvery != 0 {
					return send(ctx, measure.Nothing)
				}
				if err := send(ctx, func() error { return measure.Pause(ctx, slowFor) }); err != nil {
					return err
				}
				return measure.ErrNotCounted
			})
		}}
		return d.entry(ctx, s)
	},
}

// sender is a worker whose callers send.
type sender struct {
	name    string         // of the competitor, its group and its consumer
	options worker.Options // beside what all have
	body    int            // the length of a body; 0: as all
	consume bool           // a consumer of the same worker takes the messages and does nothing
	// drive makes a driver of one send. Nil: callers that repeat it.
	drive func(send sending) measure.Driver
}

// sending is one send, whose local transaction also does work.
type sending func(ctx context.Context, work func() error) error

// entry runs the worker.
func (d sender) entry(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
	topic, err := s.Topic(ctx, d.name)
	if err != nil {
		return nil, err
	}
	w, err := d.worker(s)
	if err != nil {
		return nil, err
	}
	if d.consume {
		w.Consume(worker.Consumer{Name: d.name, Topics: []string{topic}, Prefetch: servers.Prefetch,
			HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
	}
	stop, err := servers.RunWorker(ctx, w)
	if err != nil {
		return nil, err
	}
	send := func(ctx context.Context, work func() error) error {
		return d.send(ctx, w, orders.NewMessageOf(topic, d.bodySize()), work)
	}
	drive := measure.ClosedLoop(func(ctx context.Context) error { return send(ctx, measure.Nothing) })
	if d.drive != nil {
		drive = d.drive(send)
	}
	settle := func(ctx context.Context) error { return d.settle(ctx, s) }
	return &contest.Entry{Drive: drive, Settle: settle, Close: stop}, nil
}

// worker makes it.
func (d sender) worker(s *servers.Servers) (*worker.Worker, error) {
	o := d.options
	o.Group, o.Temporal, o.Namespace, o.AMQPURL, o.DB, o.Prefix = d.name,
		s.Temporal, s.Stack.Namespace(), s.Stack.AMQPURL(), s.DB, s.Prefix
	return worker.New(o)
}

func (d sender) send(ctx context.Context, w *worker.Worker, m holdfast.Message, work func() error) error {
	_, err := w.Send(ctx, m, func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error {
		if err := orders.Insert(tx, m.Key); err != nil {
			return err
		}
		return work()
	})
	return err
}

func (d sender) bodySize() int {
	if d.body == 0 {
		return orders.BodySize
	}
	return d.body
}

// settle waits until all workflows are closed and the Keeper, and the consumer if
// there is one, have taken what was sent.
func (d sender) settle(ctx context.Context, s *servers.Servers) error {
	if err := s.AwaitClosed(ctx, transactions.Name, workflows.TaskQueue(s.Prefix, d.name)); err != nil {
		return err
	}
	queues := s.HalfQueues(d.name)
	if d.consume {
		queues = append(queues, s.Broker.ConsumerQueue(d.name))
	}
	if err := s.AwaitEmpty(ctx, queues...); err != nil {
		return err
	}
	return s.Purge(s.Broker.ConsumerQueue(d.name))
}
