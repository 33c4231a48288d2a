package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// DrainTimeout is how long a whole backlog may take.
const DrainTimeout = 2 * time.Minute

// Drain is work that ends by itself: a backlog of messages is in a consumer's
// queue before it begins, and is consumed.
type Drain struct {
	Messages int // that are counted
	WarmUp   int // that are consumed before those
	// Consume consumes with callers handlers at a time until ctx is done. Each
	// handler's work goes through t. It returns once RabbitMQ has taken every
	// acknowledgement: its channel is closed in good order.
	Consume func(ctx context.Context, callers int, t *Tally) error
}

// Run consumes the backlog. It is timed from the beginning of the first message
// after the warm-up to the end of consuming, when the last acknowledgement is
// taken.
func (d Drain) Run(ctx context.Context, callers int) (Figure, error) {
	ctx, cancel := context.WithTimeout(ctx, DrainTimeout)
	defer cancel()
	runtime.GC()
	t := newTally(d.WarmUp, d.Messages)
	ended := make(chan error, 1)
	go func() { ended <- d.Consume(ctx, callers, t) }()

	err := t.await(ctx, t.first, ended)
	used := ReadCPU()
	if err == nil {
		err = t.await(ctx, t.full, ended)
	}
	cancel()
	err = errors.Join(err, <-ended)
	to := time.Now()
	used = ReadCPU().Sub(used)
	if err = errors.Join(err, t.failure()); err != nil {
		return Figure{}, err
	}
	if again := int(t.handled.Load()) - t.total; again > 0 {
		return Figure{}, fmt.Errorf("%d messages were delivered again", again)
	}
	seconds := to.Sub(t.from).Seconds()
	return Figure{Rate: float64(d.Messages) / seconds, Operations: d.Messages,
		Seconds: seconds, CPU: used.Per(d.Messages)}, nil
}

// Tally counts the messages of a drain. Its handlers call Work.
type Tally struct {
	warmUp, total  int
	begun, handled atomic.Int64
	from           time.Time     // valid once first is closed
	first, full    chan struct{} // closed when the first message after the warm-up begins, and when all are handled

	mu  sync.Mutex
	err error // the first one of a handler
}

func newTally(warmUp, messages int) *Tally {
	return &Tally{warmUp: warmUp, total: warmUp + messages, first: make(chan struct{}), full: make(chan struct{})}
}

// Work runs the handling of one message and counts it.
func (t *Tally) Work(handle func() error) error {
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

func (t *Tally) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// await waits for until. A consumer that ends before is an error.
func (t *Tally) await(ctx context.Context, until chan struct{}, ended chan error) error {
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
