package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfastmq/holdfast/worker"
)

const (
	drainPrefetch = 64 // a Holdfast consumer's default
)

// runConsumer runs a worker with one consumer until ctx is done. The worker has
// its own connections, as an application's.
func (s *servers) runConsumer(ctx context.Context, c worker.Consumer) error {
	w, err := worker.New(worker.Options{AMQPURL: s.stack.AMQPURL(), DB: s.db, Prefix: s.prefix})
	if err != nil {
		return err
	}
	c.Topics, c.Prefetch = []string{topicOf(c.Name)}, drainPrefetch
	w.Consume(c)
	return w.Run(ctx)
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
