package main

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

// traced is Holdfast's Traced lane as an application uses it: a worker with its
// defaults.
var traced = competitor{
	name:  "traced",
	about: "worker.Send with its defaults: half message, local transaction with one insert and the outcome row, message, op record, workflow history, Keeper",
	open: func(ctx context.Context, s *servers) (*entry, error) {
		topic, err := s.topic(ctx, "traced")
		if err != nil {
			return nil, err
		}
		w, err := worker.New(worker.Options{Group: "traced", Temporal: s.temporal, Namespace: s.stack.Namespace(),
			AMQPURL: s.stack.AMQPURL(), DB: s.db, Prefix: s.prefix})
		if err != nil {
			return nil, err
		}
		stop, err := runWorker(ctx, w)
		if err != nil {
			return nil, err
		}
		return &entry{
			drive: closedLoop(func(ctx context.Context) error {
				m := newMessage(topic)
				_, err := w.Send(ctx, m, func(_ context.Context, tx *gorm.DB, m *holdfast.Message) error { return insert(tx, m.Key) })
				return err
			}),
			settle: func(ctx context.Context) error {
				if err := s.closed(ctx, workflows.Name, workflows.TaskQueue(s.prefix, "traced")); err != nil {
					return err
				}
				return s.purge(s.broker.ConsumerQueue("traced"))
			},
			close: stop,
		}, nil
	},
}

// runWorker runs w until stop is called.
func runWorker(ctx context.Context, w *worker.Worker) (stop func(), err error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()
	stop = func() {
		cancel()
		<-ended
	}
	select {
	case <-w.Ready():
		return stop, nil
	case err := <-ended:
		cancel()
		return nil, errors.Join(fmt.Errorf("the worker did not run"), err)
	case <-ctx.Done():
		stop()
		return nil, context.Cause(ctx)
	}
}
