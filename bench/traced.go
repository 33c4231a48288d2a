package main

import (
	"context"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// traced is Holdfast's Traced lane with a history for each transaction.
var traced = competitor{
	name: "traced",
	about: "worker.Send with MaxCohort 1, a workflow for each transaction: " +
		"half message, local transaction with one insert and the outcome row, message, op record, workflow history, Keeper",
	most: slowMost,
	open: sender{name: "traced", options: worker.Options{MaxCohort: 1}}.entry,
}

// cohorts is the Traced lane as an application uses it: a worker with its
// defaults.
var cohorts = competitor{
	name:  "cohorts",
	about: "worker.Send with its defaults: as traced, but transactions of the same moment share a workflow",
	open:  sender{name: "cohorts"}.entry,
}

const (
	slowEvery = 100 // transactions, of which one is slow
	slowFor   = time.Second
)

// cohortsSlow is what one slow transaction in a hundred does to the others.
var cohortsSlow = competitor{
	name: "cohorts-slow",
	about: "as cohorts, and the closure of one transaction in a hundred sleeps a second, " +
		"with its database connection in hand; the figures are those of the others",
	callers: []int{64},
	open: func(ctx context.Context, s *servers) (*entry, error) {
		var sent atomic.Int64
		d := sender{name: "cohorts-slow", drive: func(send func(ctx context.Context, work func() error) error) driver {
			return closedLoop(func(ctx context.Context) error {
				if sent.Add(1)%slowEvery != 0 {
					return send(ctx, nothing)
				}
				if err := send(ctx, func() error { return pause(ctx, slowFor) }); err != nil {
					return err
				}
				return errNotCounted
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
	// drive makes a driver of one send, whose local transaction also does work.
	// Nil: callers that repeat it.
	drive func(send func(ctx context.Context, work func() error) error) driver
}

// entry runs the worker.
func (d sender) entry(ctx context.Context, s *servers) (*entry, error) {
	topic, err := s.topic(ctx, d.name)
	if err != nil {
		return nil, err
	}
	w, err := d.worker(s)
	if err != nil {
		return nil, err
	}
	if d.consume {
		w.Consume(worker.Consumer{Name: d.name, Topics: []string{topic}, Prefetch: drainPrefetch,
			HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
	}
	stop, err := runWorker(ctx, w)
	if err != nil {
		return nil, err
	}
	send := func(ctx context.Context, work func() error) error {
		return d.send(ctx, w, newMessageOf(topic, d.bodySize()), work)
	}
	drive := closedLoop(func(ctx context.Context) error { return send(ctx, nothing) })
	if d.drive != nil {
		drive = d.drive(send)
	}
	return &entry{drive: drive, settle: func(ctx context.Context) error { return d.settle(ctx, s) }, close: stop}, nil
}

// worker makes it.
func (d sender) worker(s *servers) (*worker.Worker, error) {
	o := d.options
	o.Group, o.Temporal, o.Namespace, o.AMQPURL, o.DB, o.Prefix = d.name,
		s.temporal, s.stack.Namespace(), s.stack.AMQPURL(), s.db, s.prefix
	return worker.New(o)
}

func (d sender) send(ctx context.Context, w *worker.Worker, m holdfast.Message, work func() error) error {
	_, err := w.Send(ctx, m, func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error {
		if err := insert(tx, m.Key); err != nil {
			return err
		}
		return work()
	})
	return err
}

func (d sender) bodySize() int {
	if d.body == 0 {
		return bodySize
	}
	return d.body
}

// settle waits until all workflows are closed and the Keeper, and the consumer if
// there is one, have taken what was sent.
func (d sender) settle(ctx context.Context, s *servers) error {
	if err := s.closed(ctx, transactions.Name, workflows.TaskQueue(s.prefix, d.name)); err != nil {
		return err
	}
	queues := s.halfQueues(d.name)
	if d.consume {
		queues = append(queues, s.broker.ConsumerQueue(d.name))
	}
	if err := s.emptied(ctx, queues...); err != nil {
		return err
	}
	return s.purge(s.broker.ConsumerQueue(d.name))
}
