package servers

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfastmq/holdfast/worker"
)

// Prefetch is a Holdfast consumer's default; bare consumers have the same.
const Prefetch = 64

// RunConsumer runs a worker with one consumer until ctx is done. The worker has
// its own connections, as an application's.
func (s *Servers) RunConsumer(ctx context.Context, c worker.Consumer) error {
	w, err := worker.New(worker.Options{AMQPURL: s.Stack.AMQPURL(), DB: s.DB, Prefix: s.Prefix})
	if err != nil {
		return err
	}
	c.Topics, c.Prefetch = []string{TopicOf(c.Name)}, Prefetch
	w.Consume(c)
	return w.Run(ctx)
}

// RunWorker runs w until stop is called.
func RunWorker(ctx context.Context, w *worker.Worker) (stop func(), err error) {
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
