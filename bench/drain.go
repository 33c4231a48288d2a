package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	drainTimeout  = 2 * time.Minute // for a whole backlog
	fillCallers   = 64              // publish a backlog
	drainTurns    = 3               // of a round; what else the machine does changes meanwhile
	drainPrefetch = 64              // a Holdfast consumer's default
)

// drain is work that ends by itself: a backlog of messages is in a consumer's
// queue before it begins, and is consumed.
type drain struct {
	messages int // that are counted
	warmUp   int // that are consumed before those
	// consume consumes with callers handlers at a time until ctx is done. Each
	// handler's work goes through t. It returns once RabbitMQ has taken every
	// acknowledgement: its channel is closed in good order.
	consume func(ctx context.Context, callers int, t *tally) error
}

// openDrain declares the queue of a competitor, and of its consumer, and makes an
// entry of the drain.
func openDrain(ctx context.Context, s *servers, name string, d drain) (*entry, error) {
	topic, err := s.topic(ctx, name)
	if err != nil {
		return nil, err
	}
	return &entry{
		prepare: func(ctx context.Context) error {
			_, err := s.fill(ctx, name, topic, d.warmUp+d.messages)
			return err
		},
		run: func(ctx context.Context, callers int) (figure, error) {
			f, err := d.run(ctx, callers)
			if err != nil {
				return f, err
			}
			left, err := s.ready(s.broker.ConsumerQueue(name))
			if err == nil && left > 0 {
				err = fmt.Errorf("%d messages came back to the queue: they were not acknowledged", left)
			}
			return f, err
		},
		settle: func(context.Context) error { return s.purge(s.broker.ConsumerQueue(name)) },
	}, nil
}

// run consumes the backlog. It is timed from the beginning of the first message
// after the warm-up to the end of consuming, when the last acknowledgement is
// taken.
func (d drain) run(ctx context.Context, callers int) (figure, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	runtime.GC()
	t := newTally(d.warmUp, d.messages)
	ended := make(chan error, 1)
	go func() { ended <- d.consume(ctx, callers, t) }()

	err := t.await(ctx, t.first, ended)
	used := readCPU()
	if err == nil {
		err = t.await(ctx, t.full, ended)
	}
	cancel()
	err = errors.Join(err, <-ended)
	to := time.Now()
	used = readCPU().sub(used)
	if err = errors.Join(err, t.failure()); err != nil {
		return figure{}, err
	}
	if again := int(t.handled.Load()) - t.total; again > 0 {
		return figure{}, fmt.Errorf("%d messages were delivered again", again)
	}
	seconds := to.Sub(t.from).Seconds()
	return figure{Rate: float64(d.messages) / seconds, Operations: d.messages,
		Seconds: seconds, CPU: used.per(d.messages)}, nil
}

// tally counts the messages of a drain. Its handlers call work.
type tally struct {
	warmUp, total  int
	begun, handled atomic.Int64
	from           time.Time     // valid once first is closed
	first, full    chan struct{} // closed when the first message after the warm-up begins, and when all are handled

	mu  sync.Mutex
	err error // the first one of a handler
}

func newTally(warmUp, messages int) *tally {
	return &tally{warmUp: warmUp, total: warmUp + messages, first: make(chan struct{}), full: make(chan struct{})}
}

// work runs the handling of one message and counts it.
func (t *tally) work(handle func() error) error {
	if int(t.begun.Add(1)) == t.warmUp+1 {
		t.from = time.Now()
		close(t.first)
	}
	if err := handle(); err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.err == nil {
			t.err = fmt.Errorf("a handler failed: %w", err)
		}
		return err
	}
	if int(t.handled.Add(1)) == t.total {
		close(t.full)
	}
	return nil
}

func (t *tally) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// await waits for until. A consumer that ends before is an error.
func (t *tally) await(ctx context.Context, until chan struct{}, ended chan error) error {
	select {
	case <-until:
		return nil
	case err := <-ended:
		ended <- nil
		return errors.Join(errors.New("it ended by itself"), err)
	case <-ctx.Done():
		return fmt.Errorf("%d of %d messages were handled: %w", t.handled.Load(), t.total, context.Cause(ctx))
	}
}

// fill publishes n messages to topic, as Holdfast publishes committed ones, and
// returns their IDs when all are confirmed.
func (s *servers) fill(ctx context.Context, group, topic string, n int) (ids []string, err error) {
	ids = make([]string, n)
	return ids, inParallel(ctx, n, fillCallers, func(ctx context.Context, i int) error {
		id, ms := newTransaction(topic)
		ids[i] = ms[0].ID
		return s.broker.PublishMessages(ctx, group, id, ms)
	})
}

// inParallel calls do with 0 to n-1, callers at a time; the first error ends it.
func inParallel(ctx context.Context, n, callers int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
